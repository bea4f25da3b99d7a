"""The main job on a camera that exists nowhere: simulated, processed, compared with the truth.

`workflow.demo.simulate` makes raw frames and the truth behind them, `workflow.demo.job` runs the
pipeline on them and compares, `workflow.demo.pictures` draws what came out.
"""

from __future__ import annotations
