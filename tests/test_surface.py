"""What `tfmtl` hands on: few names at the top, the rest by module, and all of it says its arguments."""

import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest
from harness import ROOT, run_fresh

import tfmtl
from tfmtl import layers, models, stages

EVERYWHERE = {
    "schema": {"Categorical", "Numeric", "Schema", "Sequence", "Task", "TaskGrid"},
    "layers": {"CGCLayer", "HyperSequenceExtractor", "STEMEmbedding", "TaskSENet"},
    "bottoms": {"DTRNRepresentation", "STEMRepresentation", "SharedBottomRepresentation"},
    "trunks": {"CGC", "HierarchicalTaskTree", "MMoE", "PLE", "SharedBottom", "SingleTask"},
    "heads": {"AITMHead", "ESMMHead", "Towers"},
    "models": {"build", "embedding_table"},
    "modules": {"layers", "losses", "metrics", "models", "schema", "stages"},
    "itself": {"__version__"},
}
ON_TENSORFLOW = {
    "data": {"Preprocessor", "adapt", "extend", "read"},
    "training": {"Validation", "balanced", "evaluate", "objectives", "strategy"},
    "analysis": {"compare", "diagnose"},
    "optimizers": {"LazyAdam", "optimizer"},
    "exporting": {"Score", "export"},
}
MODULES = ["layers", "stages", "models", "schema", "losses", "metrics"]
TENSORFLOW_MODULES = ["data", "training", "optimizers", "exporting", "analysis", "serving"]


def names(groups):
    return sorted(set().union(*groups.values()))


def test_the_names_at_the_top():
    assert sorted(tfmtl.__all__) == names(EVERYWHERE | ON_TENSORFLOW)
    assert len(tfmtl.__all__) == len(set(tfmtl.__all__))
    assert all(hasattr(tfmtl, name) for name in tfmtl.__all__)


@pytest.mark.parametrize("module", [*MODULES, *TENSORFLOW_MODULES])
def test_every_module_hands_on_what_it_lists_and_defines_nothing(module):
    found = importlib.import_module(f"tfmtl.{module}")
    listed = vars(found).get("__all__", [])
    assert all(hasattr(found, name) for name in listed) and len(set(listed)) == len(listed)
    text = (ROOT / "tfmtl" / module / "__init__.py").read_text()
    assert not re.search(r"^\s*(def|class) ", text, re.MULTILINE)


def test_importing_it_leaves_servers_and_clients_alone():
    printed = run_fresh(
        """
        import sys
        import tfmtl
        print([name for name in sys.modules if name.startswith(("tfmtl.serving.server", "tfmtl.serving.client"))])
        """
    )
    assert printed.strip() == "[]"


def test_on_jax_it_needs_no_tensorflow():
    code = "import sys, tfmtl; from tfmtl import *; print(sorted(tfmtl.__all__), 'tensorflow' in sys.modules)"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{names(EVERYWHERE)} False"


@pytest.mark.parametrize("backend", ["nonsense", "torch"])
def test_a_backend_that_is_missing_is_named(backend):
    hidden = f"import sys; sys.modules[{backend!r}] = None; import tfmtl"
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_USE_LEGACY_KERAS": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", hidden], env=environment, capture_output=True, text=True)
    assert "ImportError: Keras, or the backend that it was told to use, is missing: " in done.stderr
    assert f"Received: KERAS_BACKEND='{backend}'" in done.stderr


PUBLIC = [getattr(module, name) for module in (models, stages, layers) for name in module.__all__]
DOCUMENTED = [each for each in PUBLIC if callable(each) and not getattr(each, "_is_protocol", False)]


@pytest.mark.parametrize("public", DOCUMENTED, ids=lambda public: public.__name__)
def test_every_argument_stands_in_the_signature_and_in_the_docstring(public):
    """`**kwargs` are a Keras layer's own, and no function has any."""
    parameters = inspect.signature(public.__init__ if inspect.isclass(public) else public).parameters
    open_ended = [name for name, each in parameters.items() if each.kind is each.VAR_KEYWORD]
    assert open_ended == (["kwargs"] if inspect.isclass(public) else [])
    arguments = re.search(r"^Args:\n((?: {4}.*\n)+)", f"{inspect.getdoc(public)}\n", re.MULTILINE)
    documented = re.findall(r"^ {4}(\w[\w, ]*): ", arguments[1] if arguments else "", re.MULTILINE)
    told = {name for line in documented for name in line.split(", ")}
    assert told == set(parameters) - {"self", "kwargs"}


@pytest.mark.parametrize(
    "module", [*MODULES, *TENSORFLOW_MODULES, "training.balancing", "serving.client", "serving.server"]
)
def test_help_begins_with_a_sentence_that_says_what_it_is_for(module):
    found = importlib.import_module(f"tfmtl.{module}")
    for name in vars(found).get("__all__", []):
        public = getattr(found, name)
        if callable(public) and not hasattr(public, "__origin__"):
            first = inspect.getdoc(public).splitlines()[0]
            assert first.endswith((".", "?")) and len(first.split()) >= 4, f"{module}.{name}: {first}"
