"""Packages are judged by what works without them."""

from importlib import metadata

import pytest

from armicro.doctor.machine import check_base, check_extra, package_checks, packages


def test_all_base_packages_are_listed_with_versions() -> None:
    check = check_base({"numpy": "2.1", "tqdm": "4.0"})
    assert (check.state, check.found) == ("ok", "numpy 2.1, tqdm 4.0")


def test_a_lacking_base_package_is_broken() -> None:
    check = check_base({"numpy": "2.1", "tqdm": None})
    assert (check.state, check.found) == ("broken", "lacks tqdm")


def test_a_lacking_extra_is_optional_and_says_how_to_get_it() -> None:
    check = check_extra("camera", {"pypylon": None})
    assert (check.state, check.found) == ("missing", "not installed")
    assert check.todo == "for Basler cameras: pip install 'armicro[camera]'"
    half = check_extra("gpu", {"a": "1", "b": None})
    assert (half.state, half.found) == ("missing", "lacks b")


def test_two_opencv_wheels_are_trouble() -> None:
    base = packages(metadata.requires("armicro") or ())[""]
    versions = dict.fromkeys((*base, "opencv-python"), "1.0")
    checks = {check.name: check for check in package_checks(versions.get)}
    assert checks["opencv"].state == "missing"
    assert "opencv-python-headless" in checks["opencv"].todo
    assert "opencv" not in {
        check.name for check in package_checks(dict.fromkeys(base, "1.0").get)
    }


@pytest.mark.parametrize(
    ("line", "extra", "package"),
    [
        ("numpy>=2.0", "", "numpy"),
        ("tqdm", "", "tqdm"),
        ("pyside6-essentials!=6.12.*,>=6.8", "", "pyside6-essentials"),
        ("ray>=2.40; extra == 'cluster'", "cluster", "ray"),
        ('cuda-python>=12.6 ; extra == "gpu"', "gpu", "cuda-python"),
        ("a; python_version < '3.12' and extra == 'gpu'", "gpu", "a"),
        ("mm-test-adapters; extra == 'dev'", "dev", "mm-test-adapters"),
    ],
)
def test_what_is_required_is_read_from_the_metadata(
    line: str, extra: str, package: str
) -> None:
    assert packages([line]) == {extra: [package]}


def test_what_armicro_requires_is_looked_at_and_not_a_list_of_its_own() -> None:
    requires = ["one>=1", "two", "ray>=2; extra == 'cluster'", "ruff; extra == 'dev'"]
    checks = {c.name: c for c in package_checks({"one": "1.5"}.get, requires)}
    assert checks["base"].found == "lacks two"
    assert checks["cluster"].found == "not installed"
    assert "dev" not in checks
    here = {check.name: check for check in package_checks()}
    assert "scipy" in here["base"].found
    assert "micromanager" in here


def test_sources_that_nobody_installed_are_told() -> None:
    checks = {c.name: c for c in package_checks(dict[str, str]().get, [])}
    assert (checks["base"].state, bool(checks["base"].todo)) == ("missing", True)
