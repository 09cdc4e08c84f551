"""Packages are judged by what works without them."""

from armicro.doctor.package import BASE, check_base, check_extra, package_checks


def test_all_base_packages_are_listed_with_versions() -> None:
    check = check_base({"numpy": "2.1", "tqdm": "4.0"})
    assert (check.state, check.found) == ("ok", "numpy 2.1, tqdm 4.0")


def test_a_lacking_base_package_is_broken() -> None:
    check = check_base({"numpy": "2.1", "tqdm": None})
    assert (check.state, check.found) == ("broken", "lacks tqdm")


def test_a_lacking_extra_is_optional_and_says_how_to_get_it() -> None:
    check = check_extra("camera", {"pypylon": None}, "Basler cameras")
    assert (check.state, check.found) == ("missing", "not installed")
    assert check.todo == "for Basler cameras: pip install 'armicro[camera]'"
    half = check_extra("gpu", {"a": "1", "b": None}, "networks")
    assert (half.state, half.found) == ("missing", "lacks b")


def test_two_opencv_wheels_are_trouble() -> None:
    versions = dict.fromkeys((*BASE, "opencv-python"), "1.0")
    checks = {check.name: check for check in package_checks(versions.get)}
    assert checks["opencv"].state == "missing"
    assert "opencv-python-headless" in checks["opencv"].todo
    assert "opencv" not in {
        check.name for check in package_checks(dict.fromkeys(BASE, "1.0").get)
    }
