# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from vla_policy.core.tokenizer import BOS, GOAL, OBJECT, PAD, SPECIAL, UNKNOWN, WordTokenizer

TOKENIZER = WordTokenizer.from_texts(["put the red cube on the blue plate"], max_words=9)


def test_when_a_known_sentence_is_encoded_expect_readouts_at_the_end():
    ids = TOKENIZER.encode("Put the RED cube, on the blue plate!")
    assert ids[0] == BOS
    assert ids[-3:] == [PAD, OBJECT, GOAL]
    assert all(i >= len(SPECIAL) for i in ids[1:9])
    assert len(ids) == TOKENIZER.prompt_length


def test_when_a_word_is_unknown_expect_the_unknown_token():
    assert TOKENIZER.encode("put the purple cube")[3] == UNKNOWN


def test_when_words_differ_expect_other_ids():
    assert TOKENIZER.encode("red cube") != TOKENIZER.encode("blue cube")


def test_when_there_are_too_many_words_expect_refusal_and_no_cut():
    with pytest.raises(ValueError, match="at most 9"):
        TOKENIZER.encode("red " * 10)


@pytest.mark.parametrize("words", ["put the 🟥 cube", "поставь куб", "put the cube on the plâte", "cube 日本"])
def test_when_characters_would_be_cut_off_expect_refusal_that_shows_them(words):
    with pytest.raises(ValueError, match="cannot read: '[^a-z ]+'"):
        TOKENIZER.encode(words)


@pytest.mark.parametrize("words", ["wave", "?!", "wave at them"])
def test_when_no_word_is_known_expect_refusal(words):
    with pytest.raises(ValueError, match="no word that this model knows"):
        TOKENIZER.encode(words)


def test_when_saved_and_loaded_expect_the_same_tokenizer(tmp_path):
    TOKENIZER.save(tmp_path / "vocab.json")
    assert WordTokenizer.load(tmp_path / "vocab.json") == TOKENIZER


@pytest.mark.parametrize(
    "body", [[], {"kind": "bpe", "words": []}, {"kind": "words", "words": ["a", "a"], "max_words": 3}]
)
def test_when_the_vocabulary_is_not_ours_expect_refusal(body, tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps(body))
    with pytest.raises(ValueError):  # noqa: PT011
        WordTokenizer.load(tmp_path / "vocab.json")
