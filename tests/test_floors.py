"""The house has floors: a file imports only from lower ones, and siblings that must not know each other do not."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tfmtl"

FLOORS = [
    {"typing", "keras_host", "version", "checks", "paths", "leftovers", "row_errors", "lost_process"},
    {
        "atomic_file",
        "initializers",
        "cross_replica",
        "chief",
        "label_checks",
        "outputs",
        "passes",
        "progress",
        "tables",
        "task_tables",
        "whole_weights",
    },
    {"masked_rows", "named_model"},
    {"losses"},
    {"schema", "metrics", "optimizers"},
    {"layers", "data", "training", "serving"},
    {"stages", "exporting", "analysis"},
    {"models"},
    {""},
]
MODEL_ROOMS = {"layers", "stages", "models"}
KNOW_NO_LAYER = {"data", "training", "serving", "exporting", "analysis"}  # they take a schema and any `keras.Model`
NEIGHBOURS = {"serving": {"schema"}, "exporting": {"data", "serving", "schema"}}  # all that these import, ground aside
STAGES = {"bottoms", "trunks", "heads"}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            submodules = {f"{node.module}.{name.name}" for name in node.names}
            known = {name for name in submodules if (ROOT / Path(*name.split("."))).with_suffix(".py").exists()}
            found |= known or {str(node.module)}
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down(path):
    module = module_of(path)
    for used in imports(path):
        if used.split(".")[0] == "tfmtl":
            same_room = room(used) == room(module)
            assert floor(used) < floor(module) or same_room, f"{module} imports {used}"
            if room(module) in KNOW_NO_LAYER:
                assert room(used) not in MODEL_ROOMS, f"{module} imports {used}"
            if room(module) in NEIGHBOURS and floor(used) >= 2:
                assert same_room or room(used) in NEIGHBOURS[room(module)], f"{module} imports {used}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").rglob("*.py")), ids=module_of)
def test_stages_do_not_know_each_other(path):
    kind = path.relative_to(PACKAGE / "stages").parts[0]
    used = {name.split(".")[2] for name in imports(path) if name.startswith("tfmtl.stages.")}
    assert kind not in STAGES or used & STAGES <= {kind}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_tensorflow_stays_where_it_belongs(path):
    module = module_of(path)
    if room(module) in {"data", "training", "serving", "exporting", "optimizers", "cross_replica", "label_checks"}:
        return
    if module.startswith("tfmtl.layers.fast."):
        return
    foreign = {name for name in imports(path) if name.split(".")[0] in ("tensorflow", "tf_keras")}
    if path.name != "keras_host.py":
        foreign |= {name for name in imports(path) if name.split(".")[0] == "keras"}
        assert not foreign, f"{path.name} imports {foreign}"


def test_every_file_is_on_a_floor():
    assert all(floor(module_of(path)) >= 0 for path in FILES)
