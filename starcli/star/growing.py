"""Growing: a finished star is trained on for other sources, at the price of those that are new and dropped.

It goes on from where it stands, on the lines to all sources that are named now. Old ones are drawn as well as new ones:
the star would forget what is drawn no more. Dropped are those that are not named again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.lineage import Lineage, is_among
from starcli.errors import StarcliError, few
from starcli.recipes.recipe import Recipe
from starcli.workspace.plan import inherited_recipe


@dataclass(frozen=True)
class Growth:
    """A finished star and the sources that it is to have: which of them are `new`, by number, and names of `dropped`.

    anew: the recipe by which a star of these sources would be trained anew, without companions; `another` than that of
        the star.
    companions: number of those that the star was trained with. They are gone: no file has them.

    A source is old where the star was made from these weights, whatever its file is called, or from the same solution
    with other names of units.
    """

    star: Checkpoint
    sources: Sequence[Checkpoint]
    new: tuple[int, ...]
    dropped: tuple[str, ...]
    anew: Recipe
    another: bool = False
    companions: int = 0

    def turns(self) -> list[int] | None:
        """Numbers of the sources, one of which is drawn in each step: half of the draws are of new ones.

        None where all are drawn alike, because none are new, or these are half or more.
        """
        new, old = self.new, [number for number in range(len(self.sources)) if number not in self.new]
        return [*old * len(new), *new * len(old)] if 0 < len(new) < len(old) else None

    def recipe(self, epochs: int | None = None) -> Recipe:
        """The recipe of training anew, in so many epochs (None: its own times the share of new and dropped sources)."""
        changed, several = len(self.new) + len(self.dropped), len(self.sources) + len(self.dropped)
        return self.anew.lasting(epochs or math.ceil(self.anew.epochs * changed / several))

    def record(self) -> dict[str, Any]:
        """The growth as the file of the grown star records it, beside the hash of the star."""
        another = {"recipe": "another"} if self.another else {}
        return {"epochs_anew": self.anew.epochs, "new": len(self.new), "dropped": len(self.dropped), **another}

    @property
    def title(self) -> str:
        """Sources that are new and dropped, in words."""
        names = [self.sources[number].name for number in self.new]
        new = f"{few(names, 3)} new" if names else "none new"
        dropped = f", {few(self.dropped, 3)} dropped" if self.dropped else ""
        are = "companions are" if self.companions != 1 else "companion is"
        gone = f"; its {self.companions} {are} gone" if self.companions else ""
        return f"{self.star.name} grows to {len(self.sources)} sources: {new}{dropped}{gone}"


def growth_of(
    star: Checkpoint,
    sources: Sequence[Checkpoint],
    recipe: Recipe | None,
) -> Growth:
    """The growth of a finished `star` to `sources`: which are new, which are dropped; by its own or the named recipe.

    A model that was fused as a star is one, too. StarcliError for a model that is none, for one that has just these
    sources or none of them, or is among them.
    """
    own, lineage = _own_sources(star), Lineage(star)
    known = {copy for sha256 in own for copy in lineage.copies(sha256)}
    if any(is_among(source, lineage.copies()) for source in sources):
        raise StarcliError(f"{star.name}: is to grow, and is among its own --sources")
    new = tuple(number for number, source in enumerate(sources) if not is_among(source, known))
    kept = {sha256 for sha256 in own if any(is_among(each, lineage.copies(sha256)) for each in sources)}
    dropped = tuple(name for sha256, name in own.items() if sha256 not in kept)
    if not new and not dropped:
        raise StarcliError(
            f"{star.name}: was made from just these --sources, none is new", ["--init goes on with the same ones"]
        )
    if len(new) == len(sources):
        raise StarcliError(
            f"{star.name}: was made from none of these --sources",
            ["--sources names old and new ones; --init begins at any model"],
        )
    inherited = _recipe_anew(star)
    another, companions = recipe not in (None, inherited), _how(star).get("companions", 0)
    return Growth(star, sources, new, dropped, recipe or inherited, another=another, companions=companions)


def _recipe_anew(star: Checkpoint) -> Recipe:
    """The recipe of a star, in as many epochs as it had itself, beside companions, or would have had if not grown."""
    found = inherited_recipe([star])
    assert found is not None  # a star records how it was trained
    how = _how(star)
    own = found.epochs - how.get("companions", 0) * how.get("companion_epochs", 0)
    return found.lasting(how.get("grown", {}).get("epochs_anew", own))


def _how(star: Checkpoint) -> dict[str, Any]:
    """What a star keeps of its search."""
    found: dict[str, Any] = (star.metadata.recipe or {})[star.metadata.kind]
    return found


def _own_sources(star: Checkpoint) -> dict[str, str]:
    """Hashes of the sources of a star, with their names."""
    metadata = star.metadata
    how = (metadata.recipe or {}).get(metadata.kind)
    if not isinstance(how, dict) or "fusion" in how:
        raise StarcliError(
            f"{star.name}: is no star that says what its sources are, and cannot grow", ["--init begins at any model"]
        )
    names = {ancestor.sha256: ancestor.name for ancestor in metadata.ancestors}
    sources = list(metadata.parents)
    if how.get("init") in sources:  # a source as well, it is there twice
        sources.remove(how["init"])
    return {source: names.get(source, source[:12]) for source in sources}
