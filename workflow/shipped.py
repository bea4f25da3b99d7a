"""Which pipelines ship with skyspine, and for which cameras?"""

from __future__ import annotations

from pathlib import Path

import yaml

__all__ = ["QUALITY", "pipeline_names", "shipped_pipeline", "shipped_pipelines"]

QUALITY = "frame-quality"
"""Name of the pipeline of metric tasks, which goes beside that of any camera."""
_FOLDER = Path(__file__).parent / "pipelines"


def pipeline_names() -> list[str]:
    """List the pipelines that ship, by the names of their files."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def shipped_pipeline(name: str) -> str:
    """Give the path of a pipeline that ships."""
    return str(_FOLDER / f"{name}.yaml")


def shipped_pipelines() -> dict[str | None, str]:
    """Map each camera to the path of its pipeline; None to that for calibrated exposures."""
    paths = (shipped_pipeline(name) for name in pipeline_names() if name != QUALITY)
    return {
        yaml.safe_load(Path(path).read_text(encoding="utf-8")).get("instrument"): path
        for path in paths
    }
