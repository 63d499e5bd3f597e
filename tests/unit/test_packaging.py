import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {
    "nvisy": ROOT,
    "nvisy_object": ROOT / "connectors" / "object",
    "nvisy_sql": ROOT / "connectors" / "sql",
    "nvisy_vector": ROOT / "connectors" / "vector",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    """The wheel of each distribution, by the name it is imported by."""
    folder = tmp_path_factory.mktemp("wheels")
    pip_wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip_wheel, *offline, "--wheel-dir", folder, *PROJECTS.values()], check=True)
    return {name: zipfile.ZipFile(next(folder.glob(f"{name}-*.whl"))) for name in PROJECTS}


def source_modules(name: str) -> set[str]:
    project = PROJECTS[name]
    return {str(path.relative_to(project)) for path in (project / name).rglob("*.py")}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_holds_every_module_of_its_package_and_nothing_beside_it(
    name: str, wheels: dict[str, zipfile.ZipFile]
):
    modules = {path for path in wheels[name].namelist() if path.endswith(".py")}
    assert modules == source_modules(name)


def test_the_core_wheel_holds_the_schemas(wheels: dict[str, zipfile.ZipFile]):
    schemas = {f"nvisy/schemas/{path.relative_to(ROOT / 'schemas')}" for path in ROOT.glob("schemas/**/*.*")}
    assert {path for path in schemas if path.endswith(".avsc")}
    assert "nvisy/schemas/graph.schema.json" in schemas
    assert schemas <= set(wheels["nvisy"].namelist())


def test_the_core_wheel_says_that_it_is_typed(wheels: dict[str, zipfile.ZipFile]):
    assert "nvisy/py.typed" in wheels["nvisy"].namelist()


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_announces_the_entry_points_of_its_project(name: str, wheels: dict[str, zipfile.ZipFile]):
    project = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text())["project"]
    declared = project.get("entry-points", {}).values()
    announced = "".join(
        wheels[name].read(path).decode()
        for path in wheels[name].namelist()
        if path.endswith("entry_points.txt")
    )
    for entry, target in ((entry, target) for group in declared for entry, target in group.items()):
        assert f"{entry} = {target}" in announced


def test_the_setup_says_how_long_it_takes_before_it_starts():
    told = subprocess.run(
        ["make", "--dry-run", "--what-if=constraints.txt", "setup"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "a minute or more" in told[: told.index("pip install")]


def test_every_requirement_is_pinned_by_hash_and_names_no_index():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith(" ")]
    assert all("==" in line and line.endswith("\\") for line in pins)
    assert all(line.startswith("    --hash=sha256:") for line in lines if line.startswith(" "))
