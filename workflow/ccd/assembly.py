"""How does a raw frame become one image of the sky-facing pixels, with its amplifiers known?

Saturated pixels are marked, the overscan is measured and subtracted per amplifier, what is not sky
is cut off, and each amplifier's gain and read noise are kept.  Where the regions and numbers stand
(in cards of the header, or in the configuration) differs by camera and is configured here, once,
for all tasks that read raw frames.  Values stay in ADU; see `workflow.ccd.signature` for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from lsst.pex.config import ChoiceField, Config, Field, ListField

from workflow.ccd.errors import BadSection, FrameMismatch, MissingCard
from workflow.ccd.frames import header_number, image_of, robust_sigma
from workflow.ccd.planes import bit
from workflow.ccd.sections import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Amplifier", "Assembled", "AssemblyConfig", "assemble"]


class AssemblyConfig(Config):
    """Where the amplifiers of a raw frame are, and what is known of each."""

    overscan = ChoiceField[str](
        doc="How the overscan is subtracted.",
        default="median",
        allowed={
            "none": "there is no overscan",
            "median": "one median per amplifier",
            "mean": "one sigma-clipped mean per amplifier (finer than a median of whole numbers)",
            "row": "one median per row, smoothed over overscan_smoothing rows",
        },
    )
    bias_section_key = Field[str]("Card with the overscan section.", default="BIASSEC")
    data_section_keys = ListField[str](
        "Cards with the section of sky pixels, in order of preference.",
        default=["TRIMSEC", "DATASEC"],
    )
    bias_sections = ListField[str](
        "Overscan section of each amplifier, '[x1:x2,y1:y2]'; empty: one amplifier, from cards.",
        default=[],
    )
    data_sections = ListField[str](
        "Section of sky pixels of each amplifier in the raw frame; they are joined without gaps.",
        default=[],
    )
    overscan_smoothing = Field[int]("Rows of the running mean, for overscan='row'.", default=15)
    gain_key = Field[str]("Card with the gain [electron/adu]; '' for none.", default="GAIN")
    read_noise_key = Field[str]("Card with the read noise; '' for none.", default="RDNOISE")
    saturation_key = Field[str]("Card with the saturation [adu]; '' for none.", default="SATURATE")
    gains = ListField[float](
        "Gain of each amplifier [electron/adu]; empty: from the card.", default=[]
    )
    read_noises = ListField[float](
        "Read noise of each amplifier [electron]; empty: card.", default=[]
    )
    read_noise_from_overscan = Field[bool](
        "Take the read noise from the scatter of the overscan.", default=False
    )
    saturations = ListField[float]("Saturation of each amplifier, raw values [adu].", default=[])
    saturation_grow = Field[int]("Pixels by which saturated areas are enlarged.", default=0)
    crpix_offset = ListField[float](
        "Added to CRPIX1, CRPIX2 besides the trimming, for cards that count in another frame.",
        default=[0.0, 0.0],
        length=2,
    )
    crpix_trimmed = Field[bool](
        "Whether CRPIX counts in the trimmed frame already, so that trimming does not move it.",
        default=False,
    )

    def validate(self) -> None:
        """Check that the lists belong to the same amplifiers."""
        from lsst.pex.config import FieldValidationError

        super().validate()
        if self.bias_sections and len(self.bias_sections) != len(self.data_sections):
            raise FieldValidationError(
                type(self).bias_sections,
                self,
                f"{len(self.bias_sections)} overscan sections for {len(self.data_sections)} data "
                "sections: give each amplifier one of each, in the same order",
            )
        n_amplifiers = max(len(self.data_sections), 1)
        for name in ("gains", "read_noises", "saturations"):
            if len(getattr(self, name)) not in (0, n_amplifiers):
                raise FieldValidationError(
                    getattr(type(self), name),
                    self,
                    f"{len(getattr(self, name))} values for {n_amplifiers} amplifiers",
                )


@dataclass
class Amplifier:
    """One amplifier of an assembled frame.

    Parameters
    ----------
    data, place : Section
        Its sky pixels in the raw frame, and where they came to lie in the assembled one.
    gain : float or None
        [electron/adu], None when nothing says.
    read_noise : float or None
        [electron, or adu when there is no gain], None when nothing says.
    overscan_level, overscan_noise : float or None
        What was subtracted (the mean over the rows), and the scatter per overscan pixel [adu].
    """

    data: Section
    place: Section
    gain: float | None = None
    read_noise: float | None = None
    overscan_level: float | None = None
    overscan_noise: float | None = None


@dataclass
class Assembled:
    """A raw frame without overscan, in ADU.

    Parameters
    ----------
    data : array of float, shape (rows, columns)
        [adu]
    mask : array of int32, same shape
        SAT is set where a raw value reached the saturation.
    amplifiers : list of Amplifier
        In the order of the configuration.
    wcs : astropy.wcs.WCS or None
        Celestial coordinates of the assembled pixels.
    header : mapping
        The raw header.
    """

    data: NDArray[np.float64]
    mask: NDArray[np.int32]
    amplifiers: list[Amplifier]
    wcs: Any = None
    header: Mapping[str, Any] = field(default_factory=dict)

    def amplifier_image(self, name: str) -> NDArray[np.float64] | float | None:
        """Return ``gain`` or ``read_noise`` for each pixel; one number if all amplifiers agree.

        Returns
        -------
        array of float, shape (rows, columns), or float, or None
            None when an amplifier does not have it.
        """
        values = [getattr(a, name) for a in self.amplifiers]
        if any(v is None for v in values):
            return None
        if len(set(values)) == 1:
            return float(values[0])
        out = np.empty(self.data.shape)
        for amplifier, value in zip(self.amplifiers, values, strict=True):
            out[amplifier.place.slices] = value
        return out


def assemble(raw: CCDData, config: AssemblyConfig) -> Assembled:
    """Mark saturation, subtract the overscan, trim, and join the amplifiers.

    Parameters
    ----------
    raw : astropy.nddata.CCDData
        As read from the file, in ADU; a leading axis of length 1 is dropped.
    config : AssemblyConfig
        Where the regions and the numbers are.

    Returns
    -------
    Assembled
        The image in ADU.

    Raises
    ------
    BadSection
        If a section cannot be read or lies outside the frame.
    MissingCard
        If overscan is to be subtracted and nothing says where it is.
    """
    image = image_of(raw)
    header = raw.meta
    pairs = _sections(image.shape, header, config)
    places = _places([data for data, _ in pairs])
    shape = (max(p.y1 for p in places), max(p.x1 for p in places))
    out = np.zeros(shape)
    mask = np.zeros(shape, dtype=np.int32)
    amplifiers = []
    for number, ((data, bias), place) in enumerate(zip(pairs, places, strict=True)):
        amplifier = Amplifier(data, place)
        pixels = image[data.slices].copy()
        level = _listed(config.saturations, number)
        if level is None and config.saturation_key in header:
            level = header_number(header, [config.saturation_key], "saturation level")
        if level is not None:
            mask[place.slices][_grown(pixels >= level, config.saturation_grow)] |= bit("SAT")
        if bias is not None:
            pixels -= _overscan(image[bias.slices], data, bias, config, amplifier)
        out[place.slices] = pixels
        _set_noise(amplifier, number, header, config)
        amplifiers.append(amplifier)
    return Assembled(out, mask, amplifiers, _moved_wcs(raw, pairs[0][0], config), header)


def _sections(
    shape: tuple[int, ...], header: Mapping[str, Any], config: AssemblyConfig
) -> list[tuple[Section, Section | None]]:
    """Find the pixels and the overscan of each amplifier."""
    wanted = config.overscan != "none"
    if config.data_sections:
        data = [Section.parse(text, shape) for text in config.data_sections]
    else:
        key = next((k for k in config.data_section_keys if header.get(k)), None)
        data = [Section.parse(str(header[key]), shape) if key else Section.whole(shape)]
    if not wanted:
        return [(d, None) for d in data]
    if config.bias_sections:
        return [
            (d, Section.parse(b, shape)) for d, b in zip(data, config.bias_sections, strict=True)
        ]
    text = header.get(config.bias_section_key)
    if not text:
        raise MissingCard(
            "overscan section",
            [config.bias_section_key],
            "a camera without overscan has assembly.overscan='none'",
        )
    if len(data) > 1:
        raise BadSection(
            str(text), f"is one overscan for {len(data)} amplifiers: list assembly.bias_sections"
        )
    return [(data[0], Section.parse(str(text), shape))]


def _places(sections: list[Section]) -> list[Section]:
    """Join sections without the gaps between them: the overscan columns and rows fall out."""

    def positions(spans: set[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
        start, out, last = 0, {}, 0
        for lo, hi in sorted(spans):
            if lo < last:
                raise FrameMismatch(
                    "data sections", f"{lo + 1}:{hi}", f"one that ends at {last}", "They overlap."
                )
            out[lo, hi] = (start, start + hi - lo)
            start, last = start + hi - lo, hi
        return out

    columns = positions({(s.x0, s.x1) for s in sections})
    rows = positions({(s.y0, s.y1) for s in sections})
    return [Section(*columns[s.x0, s.x1], *rows[s.y0, s.y1]) for s in sections]


def _overscan(
    pixels: NDArray[np.float64],
    data: Section,
    bias: Section,
    config: AssemblyConfig,
    amplifier: Amplifier,
) -> float | NDArray[np.float64]:
    """Measure the overscan of one amplifier, note it, and return what is to be subtracted."""
    from astropy.stats import sigma_clipped_stats

    mean, median, scatter = sigma_clipped_stats(
        pixels, sigma=4.0, maxiters=3, stdfunc="mad_std" if pixels.size > 50 else "std"
    )
    # Sigma from the differences between neighbours is free of a slope along the columns.
    steps = np.diff(pixels, axis=1 if pixels.shape[1] > 1 else 0)
    amplifier.overscan_noise = float(
        np.sqrt(np.mean(np.square(steps[np.abs(steps) <= 5 * robust_sigma(steps) + 1]))) / 2**0.5
        if steps.size
        else scatter
    )
    amplifier.overscan_level = float(median if config.overscan == "median" else mean)
    if config.overscan != "row":
        return amplifier.overscan_level
    if (bias.y0, bias.y1) != (data.y0, data.y1):
        if bias.y0 > data.y0 or bias.y1 < data.y1:
            raise BadSection(str(bias), f"does not cover all rows of the data section {data}")
        pixels = pixels[data.y0 - bias.y0 : data.y1 - bias.y0]
    from scipy.ndimage import uniform_filter1d

    rows = np.median(pixels, axis=1)
    smooth = uniform_filter1d(rows, size=max(config.overscan_smoothing, 1), mode="nearest")
    amplifier.overscan_level = float(smooth.mean())
    column: NDArray[np.float64] = smooth[:, np.newaxis]
    return column


def _set_noise(
    amplifier: Amplifier, number: int, header: Mapping[str, Any], config: AssemblyConfig
) -> None:
    """Fill in gain and read noise from lists, cards or the overscan."""
    gain, noise = _listed(config.gains, number), _listed(config.read_noises, number)
    if gain is None and config.gain_key in header:
        gain = header_number(header, [config.gain_key], "gain")
    if config.read_noise_from_overscan and amplifier.overscan_noise is not None:
        noise = amplifier.overscan_noise * (gain or 1.0)
    elif noise is None and config.read_noise_key in header:
        noise = header_number(header, [config.read_noise_key], "read noise")
    amplifier.gain, amplifier.read_noise = gain, noise


def _listed(values: Any, number: int) -> float | None:
    return float(values[number]) if len(values) > number else None


def _grown(area: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    if pixels <= 0 or not area.any():
        return area
    from scipy.ndimage import binary_dilation

    grown: NDArray[np.bool_] = binary_dilation(area, np.ones((3, 3), bool), iterations=pixels)
    return grown


def _moved_wcs(raw: CCDData, first: Section, config: AssemblyConfig) -> Any:
    """Return the WCS with its reference pixel counted in the assembled frame."""
    if raw.wcs is None or not getattr(raw.wcs, "has_celestial", False):
        return None
    wcs = raw.wcs.celestial.deepcopy()
    trimmed = (0, 0) if config.crpix_trimmed else (first.x0, first.y0)
    shift = [o - t for o, t in zip(config.crpix_offset, trimmed, strict=True)]
    wcs.wcs.crpix = wcs.wcs.crpix + shift
    if wcs.sip is not None:
        from astropy.wcs import Sip

        sip = wcs.sip
        wcs.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, list(sip.crpix + np.array(shift)))
    wcs.array_shape = None
    wcs.wcs.set()
    return wcs
