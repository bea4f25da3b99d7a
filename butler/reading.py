"""How is a dataset read whose copies are known: from one file or table, or from several?

A component is read from where it lies, and nothing else is opened.  Which copies there are is asked
before (`backbone.files`); which of them is taken, `butler.moving.replicas`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backbone import files as files_of
from butler.errors import MissingComponent, MissingFile
from butler.moving import replicas
from butler.object_cache import frozen
from butler.storage_classes import get_storage_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backbone.file_cache import FileCache
    from backbone.files import Stored
    from butler.inputs import Place
    from butler.object_cache import ObjectCache
    from registry.identity import DatasetRef

__all__ = ["read", "read_stored"]


def read(
    ref: DatasetRef,
    place: Place,
    copies: Mapping[str, Sequence[Stored]],
    component: str | None,
    parameters: Mapping[str, Any] | None,
    *,
    trusted: bool,
    files: FileCache | None,
    objects: ObjectCache | None,
) -> Any:
    """Read a dataset, or a component of it; see `Butler.get`.

    Parameters
    ----------
    place : Place
        The repository that has it.
    copies : mapping
        By component, as it is recorded: the copies of each file, the nearest first.
    trusted : bool
        Whether what runs code when it is read may do so.
    files, objects : FileCache, ObjectCache, optional
        Where they are kept.
    """

    def read_now() -> Any:
        return read_stored(ref, place, copies, component, parameters, trusted=trusted, cache=files)

    if objects is None:
        return read_now()
    selected = frozen(parameters)
    what = tuple((n, c[0].size, c[0].checksum, c[0].formatter) for n, c in copies.items())
    key = None if selected is None else (ref.id, component, selected, trusted, what)
    return objects.get(key, read_now)


def read_stored(
    ref: DatasetRef,
    place: Place,
    copies: Mapping[str, Sequence[Stored]],
    component: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    trusted: bool,
    cache: FileCache | None = None,
) -> Any:
    """Read from where it is stored; parameters as for `read`."""
    storage = get_storage_class(ref.dataset_type.storage_class)
    given = {name: value for name, value in (parameters or {}).items() if value is not None}

    def reader(name: str, of_one: Sequence[Stored]) -> Callable[[str | None], Any]:
        def read_part(wanted: str | None) -> Any:
            alone = component is not None
            own = storage.parameters_of(name, given, alone=alone) if name else given
            found = replicas.read_first_good(
                of_one, place, wanted, own, trusted=trusted, cache=cache
            )
            return storage.from_storage(name, found, given) if name and wanted is None else found

        return read_part

    parts = {name: reader(name, of_one) for name, of_one in copies.items()}
    lost: set[str] = set()
    if "" not in parts:
        lost = place.registry.database.ask(files_of.components, ref.id) - set(parts)
    if lost and (component is None or component not in parts):
        raise MissingFile(
            f"The dataset {ref.id} lies in parts, and no copy of its {', '.join(sorted(lost))} can "
            "be read; `skyspine check REPO` tells why. Other parts can be read alone, by "
            "component=.",
            name=min(lost),
        )
    own = None if component is None else storage.parts.get(component)
    if (
        own is not None
        and component not in parts
        and (own.apart or (storage.is_in_parts and "" not in parts))
    ):
        raise MissingComponent(
            f"The dataset {ref.id} was put without a {component}.", name=component or ""
        )
    if "" in parts:
        return parts[""](component)
    if component is not None:
        return storage.read_component(component, parts)
    return storage.assemble({name: read_part(None) for name, read_part in parts.items()})
