"""Tells which family a checkpoint is of: by its config.json, by its name, or because the user says so.

What is out of reach is refused by name. A family that unmask does not know but whose body transformers has can be described by
data, in a YAML file, or by a `Family` of a plug-in. Not covered: reading the files of a checkpoint (`checkpoint`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...rewards.errors import InputError, nearest
from ...rewards.plugins import load_object
from ...rewards.serde import decode
from . import translation
from .families import FAMILIES, Attention, Family
from .translation import Config


def choose(config: Config, where: str, name: str, given: str | None) -> "Recognised":
    """The family the user named (`given`), else the one the checkpoint tells. Raises InputError if there is none."""
    if given is None:
        return recognise(config, where, name)
    if _is_file(given):
        text = read_description(Path(given))
        return Recognised(_family(text, given), f"--family {given}", text.mask_id, text.block_size)
    return Recognised(named(given), f"--family {given}")


def named(given: str) -> Family:
    """A family by name, or as a plug-in (`package.module:attribute`, `file.py:attribute`, entry point)."""
    known = {family.name: family for family in FAMILIES}
    if given in known:
        return known[given]
    if ":" not in given and not _has_entry_point(given):
        raise InputError(
            f"--family {given}: no such family{nearest(given, known)}; known: {', '.join(known)}; or give FILE.yaml, "
            f"package.module:attribute or file.py:attribute"
        )
    found = load_object(given, "unmask.models")
    if not isinstance(found, Family):
        raise InputError(f"--family {given}: is a {type(found).__name__}, not an unmask.harness.models.families.Family")
    return found


def _is_file(given: str) -> bool:
    return given.endswith((".yaml", ".yml"))


def _has_entry_point(name: str) -> bool:
    from importlib.metadata import entry_points

    return bool(entry_points(group="unmask.models", name=name))


Base = Literal["Qwen2", "Qwen3", "Llama", "Ministral3", "Qwen3Moe"]


@dataclass(frozen=True, slots=True)
class Description:
    """A family in a YAML file: one it is `like`, or a `base`; each other field given replaces the family's own.

    `mask_id` and `block_size` count like those of the command line: they come before what the checkpoint says.
    `renames` maps regular expressions over weight names to their replacements; `config` maps the released config's field names
    to the base class's, where they differ.
    """

    name: str
    like: str | None = None
    base: Base | None = None
    attention: Attention | None = None
    alignment: Literal["absolute", "prompt_end"] | None = None
    shift: bool | None = None
    first_token: Literal["model", "ar"] | None = None
    block_size: int | None = None
    mask_id: int | None = None
    mask_token: str | None = None
    end_tokens: tuple[str, ...] | None = None
    renames: dict[str, str] | None = None
    config: dict[str, str] | None = None
    template: str | None = None


def read_description(path: Path) -> Description:
    """Read the description of a family from a YAML file. Raises InputError for what is unknown or not readable."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--family {path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--family {path}: not valid YAML ({' '.join(str(error).split())})") from None
    return decode(Description, data, str(path))


def _family(given: Description, where: str) -> Family:
    if (given.like is None) == (given.base is None):
        raise InputError(f"{where}: give either like (a known family) or base (a transformers class)")
    changes: dict[str, Any] = {
        "attention": given.attention,
        "alignment": given.alignment,
        "shift": given.shift,
        "first_token": given.first_token,
        "mask_tokens": None if given.mask_token is None else (given.mask_token,),
        "end_tokens": given.end_tokens,
        "renames": None if given.renames is None else tuple(given.renames.items()),
        "template": given.template,
        "aliases": None if given.config is None else tuple(given.config.items()),
    }
    if given.like is not None and _is_file(given.like):
        raise InputError(f"{where}: like names a known family, not a file")
    start = named(given.like) if given.like is not None else _plain(given, where)
    changed = {field: value for field, value in changes.items() if value is not None}
    return replace(start, name=given.name, title=f"described in {where}", source=start.source, evidence="layout", **changed)


def _plain(given: Description, where: str) -> Family:
    """A base class with nothing assumed: attention and alignment must be said."""
    if given.attention is None or given.alignment is None or given.base is None:
        raise InputError(f"{where}: with base, attention (full, block_causal, causal_context) and alignment are needed too")
    return Family(
        name=given.name,
        title="",
        model_types=(),
        architectures=(),
        base=given.base,
        translate=translation.moe if given.base == "Qwen3Moe" else translation.dense,
        attention=given.attention,
        alignment=given.alignment,
    )


class Recognised(NamedTuple):
    """A family, and what of the checkpoint told it; with it, what a description says of the checkpoint itself."""

    family: Family
    why: str
    mask_id: int | None = None
    block_size: int | None = None


def recognise(config: Config, where: str, name: str = "") -> Recognised:
    """Tell the family of a checkpoint from its config.json and its name. Raises InputError if there is none."""
    model_type, architectures = config.get("model_type"), config.get("architectures") or []
    refuse(config, where, name)
    fitting = [
        Recognised(family, f"{base}{', ' * bool(detail)}{detail}")
        for family in FAMILIES
        if (base := _base_sign(family, model_type, architectures)) and (detail := _detail_sign(family, config, name)) is not None
    ]
    if not fitting:
        raise InputError(f"{where}: {_unknown(config, model_type, architectures)}")
    return max(fitting, key=lambda found: (_is_particular(found.family), found.why.startswith("model_type")))


def _base_sign(family: Family, model_type: Any, architectures: Sequence[str]) -> str:
    if model_type in family.model_types:
        return f"model_type {model_type!r}"
    return next((f"architecture {name!r}" for name in architectures if name in family.architectures), "")


def _detail_sign(family: Family, config: Config, name: str) -> str | None:
    """What else tells a particular family: empty for one that needs nothing else, None where nothing does."""
    if not _is_particular(family):
        return ""
    field = next((field for field in family.fields if config.get(field) is not None), None)
    hint = next((hint for hint in family.hints if hint in name.lower()), None)
    return f"field {field!r}" if field else f"{hint!r} in its name" if hint else None


def _is_particular(family: Family) -> bool:
    return bool(family.fields or family.hints)


def _unknown(config: Config, model_type: Any, architectures: Sequence[str]) -> str:
    bodies = {family.base.lower() for family in FAMILIES}
    named = ", ".join(architectures) or "none"
    if str(model_type).replace("_", "") in bodies:
        return (
            f"model_type {model_type!r} is an autoregressive model's; if these weights are a diffusion model on that body, say "
            f"which kind with --family NAME or FILE.yaml (see `unmask list models`)"
        )
    code = "; its own code is not run" if "auto_map" in config else ""
    known = ", ".join(sorted({name for family in FAMILIES for name in family.model_types}))
    return (
        f"model_type {model_type!r} (architectures: {named}) is not a family unmask knows{code}; known model types: {known}; "
        f"one on a known body can be described with --family (see `unmask list models`)"
    )


class Refusal(NamedTuple):
    """A model that cannot be loaded as one of transformers' classes, and why."""

    name: str
    model_types: tuple[str, ...]
    architectures: tuple[str, ...]
    hints: tuple[str, ...]
    reason: str


_MULTIMODAL = "it takes images; unmask scores text models (MMaDA's text path is covered)"
REFUSED = (
    Refusal(
        "LLaDA2.2",
        ("llada2_2_moe", "llada22_moe"),
        (),
        ("llada2.2", "llada2_2", "llada22"),
        "it admits experts by block (48 of 256), which no transformers class does, and inserts and deletes tokens",
    ),
    Refusal(
        "WeDLM",
        ("wedlm",),
        ("WeDLMForCausalLM", "WeDLMModel"),
        ("wedlm",),
        "it decodes over reordered tokens under causal attention, with an engine of its own",
    ),
    Refusal(
        "ReFusion",
        ("refusion",),
        ("ReFusionForCausalLM", "RefusionForCausalLM"),
        ("refusion",),
        "it decodes slots in an order of its own, autoregressively inside a slot",
    ),
    Refusal("BD3-LM", ("bd3lm",), ("BD3LM",), (), "its diffusion transformer (adaLN) has no class in transformers"),
    Refusal("MDLM", ("mdlm",), ("MDLM",), (), "its diffusion transformer (adaLN) has no class in transformers"),
    Refusal(
        "LLaDA-V or LaViDa",
        ("llava_llada", "llava_dream"),
        ("LlavaLLaDAModelLM", "LlavaLladaForMaskedDiffusion"),
        (),
        _MULTIMODAL,
    ),
    Refusal("Lumina-DiMOO", ("lumina_dimoo",), ("LLaDAForMultiModalGeneration",), ("lumina-dimoo",), _MULTIMODAL),
    Refusal("Dream-VL", ("dream_vl", "dreamvl"), ("DreamVLForConditionalGeneration", "DreamVLModel"), ("dream-vl",), _MULTIMODAL),
    Refusal("LLaDA2.0-Uni", ("llada2_uni",), (), ("llada2.0-uni",), _MULTIMODAL),
    Refusal(
        "Nemotron-Labs-Diffusion-VLM",
        ("nemotron_labs_diffusion_vlm",),
        ("NemotronDiffusionVLMModel",),
        ("labs-diffusion-vlm",),
        _MULTIMODAL,
    ),
    Refusal("DFlash", ("dflash",), ("DFlashDraftModel",), (), "it drafts for an autoregressive model and is no model of its own"),
)


def refuse(config: Config, where: str, name: str) -> None:
    """Raise InputError for what is out of reach, by name."""
    model_type, architectures = config.get("model_type"), config.get("architectures") or []
    for entry in REFUSED:
        named = any(hint in name.lower() for hint in entry.hints)
        if named or model_type in entry.model_types or any(kind in entry.architectures for kind in architectures):
            raise InputError(f"{where}: {entry.name} is not covered: {entry.reason}")
    if config.get("quantization_config"):
        method = dict(config["quantization_config"]).get("quant_method", "unknown")
        raise InputError(f"{where}: quantised weights ({method}) are not covered; take the release in bfloat16")
