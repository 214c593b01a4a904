# SPDX-License-Identifier: Apache-2.0
"""Types of the arrays that methods take and give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]
