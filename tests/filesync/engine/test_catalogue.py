"""The catalogue says what rclone says, as far as the policy allows it; presets fit into it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from filesync.engine import (
    POLICY,
    PRESETS,
    OptionClass,
    Preset,
    RcloneUnusable,
    catalogue,
)
from filesync.engine.options import check_options


def test_every_offered_backend_is_described(rclone_binary: Path) -> None:
    backends = catalogue(rclone_binary)
    assert set(backends) == set(POLICY)
    assert all(backend.description for backend in backends.values())


def test_only_what_may_be_set_is_among_the_options(rclone_binary: Path) -> None:
    for name, backend in catalogue(rclone_binary).items():
        classes = {option.name: POLICY[name].classify(option.name) for option in backend.options}
        assert OptionClass.REFUSED not in classes.values()
        assert not set(backend.refused) & set(classes)
        assert {option.name for option in backend.options if option.secret} == {
            option for option, kind in classes.items() if kind is OptionClass.SECRET
        }


def test_an_option_has_its_help_default_examples_and_provider(rclone_binary: Path) -> None:
    s3 = catalogue(rclone_binary)["s3"]
    provider = next(option for option in s3.options if option.name == "provider")
    assert "Alibaba" in {example.value for example in provider.examples}
    storage_class = [option for option in s3.options if option.name == "storage_class"]
    assert any("AWS" in option.provider.split(",") for option in storage_class)
    webdav = catalogue(rclone_binary)["webdav"]
    url = next(option for option in webdav.options if option.name == "url")
    assert url.required
    assert url.help.startswith("URL of http host")


def test_rclone_is_asked_once_per_version(rclone_binary: Path) -> None:
    assert catalogue(rclone_binary) is catalogue(rclone_binary)


def test_a_binary_that_is_no_rclone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RcloneUnusable, match="nothing-here"):
        catalogue(tmp_path / "nothing-here")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_a_storage_of_an_offered_backend(preset: Preset, rclone_binary: Path) -> None:
    check_options(preset.backend, preset.options, {})
    options = {option.name: option for option in catalogue(rclone_binary)[preset.backend].options}
    assert set(preset.ask) <= set(options)
    for name in ("provider", "vendor"):
        if value := preset.options.get(name):
            assert value in {example.value for example in options[name].examples}
    assert preset.title
    assert preset.root
    assert "" not in asdict(preset)["options"].values()


def test_what_people_look_for_by_name_is_there() -> None:
    titles = " ".join(preset.title for preset in PRESETS)
    for name in ("AList", "OpenList", "Nextcloud", "ownCloud", "Synology", "Jianguoyun", "Aliyun"):
        assert name in titles
    for name in ("Tencent", "Huawei", "Qiniu", "MinIO", "Cloudflare R2", "Backblaze", "OneDrive"):
        assert name in titles
