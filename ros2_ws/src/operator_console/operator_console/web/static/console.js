// SPDX-License-Identifier: Apache-2.0
// The page's control connection: heartbeats, keys and gamepad out, who is in control in. Plain JavaScript on the main
// thread on purpose: when the page hangs, its heartbeats stop, and the console stops the arm.
"use strict";
(() => {
  const BEAT_MS = {control: 50, view: 250};
  const RECONNECT_MS = 500;
  const CAMERA_RETRY_MS = 1000;
  const DRIVE_KEYS = new Set("wsadrfuoikjltg");
  const client = document.querySelector("meta[name=whetstone-client]").content;
  const held = new Set();
  let socket = null;
  let state = {controls: false};
  let sentAt = 0;

  const byId = (id) => document.getElementById(id);
  const isTyping = (event) =>
    event.target instanceof Element && event.target.closest("input:not([type=range]), textarea, [contenteditable=true]");

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/control?client=${encodeURIComponent(client)}`);
    socket.onmessage = (event) => show(JSON.parse(event.data));
    socket.onclose = () => {
      state = {controls: false};
      showDisconnected();
      setTimeout(connect, RECONNECT_MS);
    };
  }

  function gamepad() {
    const pad = [...(navigator.getGamepads ? navigator.getGamepads() : [])].find((each) => each && each.mapping === "standard");
    return pad ? {axes: [...pad.axes], buttons: pad.buttons.map((button) => button.pressed)} : null;
  }

  function send(request) {
    if (!socket || socket.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify({request, keys: [...held], pad: gamepad()}));
    sentAt = performance.now();
    return true;
  }

  function beat() {
    send("beat");
    setTimeout(beat, state.controls ? BEAT_MS.control : BEAT_MS.view);
  }

  function stop() {
    if (!send("estop")) byId("control-line").textContent = "NOT CONNECTED: use the emergency stop of the robot itself";
  }

  function show(next) {
    state = next;
    const trip = performance.now() - sentAt;
    document.body.classList.toggle("in-control", next.controls);
    document.body.classList.toggle("engaged", next.engaged);
    document.body.classList.toggle("estop-pressed", next.is_pressed);
    const line = byId("control-line");
    if (!line) return;
    const who = next.controls ? "you are in control" : next.operator ? `${next.operator} is in control` : "nobody is in control";
    line.textContent = `${who} · ${next.viewers} page${next.viewers === 1 ? "" : "s"} open · answer in ${trip.toFixed(0)} ms`;
    byId("clutch").textContent = next.engaged ? "clutch engaged: you drive the arm" : "clutch free";
    byId("take").textContent = next.controls ? "Give control back" : "Take control";
    byId("take").disabled = !next.controls && Boolean(next.operator);
    byId("problem").textContent = next.problem || (next.lost ? `operator lost: ${next.lost}` : "");
  }

  function showDisconnected() {
    document.body.classList.remove("in-control", "engaged");
    const line = byId("control-line");
    if (line) line.textContent = "NOT CONNECTED: this page shows the past and stops nothing";
  }

  // ---- keys and buttons; in the capture phase, so that a focused button never swallows the space bar

  window.addEventListener("keydown", (event) => {
    if (isTyping(event)) return;
    if (event.code === "Space") {
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat) stop();
      return;
    }
    const key = event.key.toLowerCase();
    if (!state.controls || !DRIVE_KEYS.has(key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (!held.has(key)) { held.add(key); send("beat"); }
  }, true);
  window.addEventListener("keyup", (event) => {
    if (event.code === "Space" && !isTyping(event)) event.preventDefault();
    if (held.delete(event.key.toLowerCase())) send("beat");
  }, true);
  const letGo = () => { if (held.size) { held.clear(); send("beat"); } };
  window.addEventListener("blur", letGo);
  document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); });
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest("#estop")) { event.preventDefault(); stop(); }
    const key = event.target.closest("[data-hold]");
    if (key && state.controls) { held.add(key.dataset.hold); send("beat"); }
  }, true);
  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(name, () => {
      for (const key of document.querySelectorAll("[data-hold]")) held.delete(key.dataset.hold);
      send("beat");
    }, true);
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("#take")) send(state.controls ? "give" : "take");
  });

  // ---- cameras: the next picture is asked for when the last one is there, and only while somebody looks

  async function follow(image) {
    const period = Number(image.dataset.periodMs);
    while (image.isConnected) {
      const begun = performance.now();
      let wait = CAMERA_RETRY_MS;
      if (!document.hidden && image.offsetParent !== null) {
        try {
          const answer = await fetch(`/camera/${encodeURIComponent(image.dataset.camera)}`);
          if (answer.status === 200) {
            const old = image.src;
            image.src = URL.createObjectURL(await answer.blob());
            image.dataset.pictures = String(Number(image.dataset.pictures || 0) + 1);
            if (old.startsWith("blob:")) URL.revokeObjectURL(old);
            wait = period - (performance.now() - begun);
          }
        } catch (error) { /* the server is away: asked again below */ }
      }
      await new Promise((done) => setTimeout(done, Math.max(20, wait)));
    }
  }
  const followed = new WeakSet();
  setInterval(() => {
    for (const image of document.querySelectorAll("img[data-camera]")) {
      if (!followed.has(image)) { followed.add(image); follow(image); }
    }
  }, 300);

  connect();
  beat();
})();
