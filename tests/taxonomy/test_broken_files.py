"""A wrong data file is refused at the start, with its place and what was expected."""

import shutil
from pathlib import Path

import pytest

from accelwatch.taxonomy import loader
from accelwatch.taxonomy.loader import TaxonomyError

SHIPPED = Path(loader.__file__).parent


@pytest.fixture
def folder(tmp_path):
    for file in SHIPPED.iterdir():
        if file.suffix in (".yml", ".csv"):
            shutil.copy(file, tmp_path)
    return tmp_path


def change(folder, file, old, new):
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def append(folder, file, line):
    """Returns its line number."""
    path = folder / file
    text = path.read_text() + line + "\n"
    path.write_text(text)
    return text.count("\n")


def refused(folder, *parts):
    with pytest.raises(TaxonomyError) as caught:
        loader.read(folder)
    message = str(caught.value)
    for part in (*parts, "xpected"):
        assert part in message
    return message


def test_the_files_as_they_are_shipped_are_taken(folder):
    assert loader.read(folder).classes


def test_a_code_in_two_classes(folder):
    line = append(folder, "nvidia_xids.csv", "48,compute_engine,,,,ROBUST_CHANNEL_GPU_ECC_DBE,,")
    refused(folder, f"nvidia_xids.csv:{line}:", "48", "nvidia_xids.csv:", "mem_uncorrectable", "once")


def test_a_code_twice_in_one_class(folder):
    line = append(folder, "ascend_codes.csv", "80E01801,mem_uncorrectable,,,,HBM again,,")
    refused(folder, f"ascend_codes.csv:{line}:", "80E01801")


def test_a_number_that_is_both_an_xid_and_an_sxid(folder):
    """Else the family of a code could not be told from its number."""
    line = append(folder, "nvidia_sxids.csv", "79,fabric_switch,,,,SOMETHING,,")
    refused(folder, f"nvidia_sxids.csv:{line}:", "79", "nvidia_xids.csv")


@pytest.mark.parametrize(("file", "key"), [("logs.yml", "EI0006"), ("logs.yml", "panic"), ("classes.yml", "power")])
def test_a_key_that_stands_twice(folder, file, key):
    text = (folder / file).read_text()
    begin = text.index(f"  {key}:")
    (folder / file).write_text(text[:begin] + f"  {key}: {{class: host, name: again}}\n" + text[begin:])
    refused(folder, f"{file}:", f"{key} stands twice")


def test_a_code_not_in_the_form_of_the_tables(folder):
    line = append(folder, "ascend_codes.csv", "0x8c2fffff,driver_software,,,,something,,")
    refused(folder, f"ascend_codes.csv:{line}:", "8C2FFFFF")


def test_a_code_of_no_class_of_ours(folder):
    line = append(folder, "nvidia_xids.csv", "888,gpu_broken,,,,SOMETHING,,")
    refused(folder, f"nvidia_xids.csv:{line}:", "gpu_broken", "device_lost")


def test_an_unknown_severity_in_a_table(folder):
    line = append(folder, "nvidia_xids.csv", "888,host,fatal,,,SOMETHING,,")
    refused(folder, f"nvidia_xids.csv:{line}:", "'fatal'", "run_ending")


def test_an_unknown_flag(folder):
    line = append(folder, "nvidia_xids.csv", "888,host,,,eco,SOMETHING,,")
    refused(folder, f"nvidia_xids.csv:{line}:", "'eco'", "application_suspect")


def test_a_rank_that_is_no_number(folder):
    line = append(folder, "nvidia_xids.csv", "888,host,,high,,SOMETHING,,")
    refused(folder, f"nvidia_xids.csv:{line}:", "'high'")


def test_a_code_without_a_name(folder):
    line = append(folder, "nvidia_xids.csv", "888,host,,,,,,")
    with pytest.raises(TaxonomyError, match=f"nvidia_xids.csv:{line}: a code needs"):
        loader.read(folder)


def test_a_row_with_a_cell_too_few(folder):
    line = append(folder, "nvidia_xids.csv", "888,host,,,SOMETHING")
    refused(folder, f"nvidia_xids.csv:{line}:", "5 cells")


def test_other_columns(folder):
    change(folder, "nvidia_xids.csv", "code,class,severity", "xid,class,severity")
    refused(folder, "nvidia_xids.csv:", "xid", "code")


def test_an_empty_table(folder):
    (folder / "nvidia_sxids.csv").write_text("# nothing yet\n")
    refused(folder, "nvidia_sxids.csv:1:", "no codes")


@pytest.mark.parametrize("file", ["nvidia_xids.csv", "logs.yml"])
def test_bytes_that_are_no_text(folder, file):
    lines = (folder / file).read_bytes().split(b"\n")
    lines[29] += b"\xff"
    (folder / file).write_bytes(b"\n".join(lines))
    refused(folder, f"{file}:30:", "0xff", "UTF-8")


def test_a_quote_that_is_not_closed(folder):
    append(folder, "nvidia_xids.csv", '888,host,,,,SOMETHING,"broken')
    with pytest.raises(TaxonomyError, match=r"^nvidia_xids\.csv:\d+: not CSV"):
        loader.read(folder)


def test_a_file_that_is_gone(folder):
    (folder / "ascend_codes.csv").unlink()
    refused(folder, "ascend_codes.csv", "No such file")


def test_a_missing_class(folder):
    text = (folder / "classes.yml").read_text()
    begin, end = text.index("  fail_slow:\n"), text.index("  driver_software:\n")
    (folder / "classes.yml").write_text(text[:begin] + text[end:])
    refused(folder, "classes.yml:", "fail_slow is missing", "25")


def test_a_class_too_many(folder):
    text = (folder / "classes.yml").read_text()
    (folder / "classes.yml").write_text(
        text + text[text.index("  unknown:\n") :].replace("unknown:", "maintenance:", 1)
    )
    refused(folder, "classes.yml:", "'maintenance'")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("severity: run_ending", "severity: fatal", "fatal"),
        ("notify: page", "notify: phone", "phone"),
        ("kind: cause", "kind: reason", "reason"),
        ("clearing: state", "clearing: silence", "silence"),
        ("hardware: true", "hardware: perhaps", "hardware"),
        ("rank: 100", "rang: 100", "rang"),
        ("clear_after_seconds: 60", "clear_after_seconds: 0", "0"),
    ],
)
def test_an_unknown_word_in_a_class(folder, old, new, said):
    change(folder, "classes.yml", old, new)
    message = refused_place(folder)
    assert "device_lost" in message
    assert said in message


def refused_place(folder):
    with pytest.raises(TaxonomyError, match=r"^classes\.yml:\d+: ") as caught:
        loader.read(folder)
    return str(caught.value)


def test_a_class_without_an_action_for_a_vendor_that_can_see_it(folder):
    text = (folder / "classes.yml").read_text()
    begin = text.index("      host:\n        first: Find the device")
    end = text.index("    observable:", begin)
    (folder / "classes.yml").write_text(text[:begin] + text[end:])
    refused(folder, "classes.yml:", "pcie_host_link, host: no action")


def test_a_class_without_an_action_for_one_history(folder):
    change(folder, "classes.yml", "        after_repair: Replace the GPU.\n", "")
    assert "after_repair" in refused_place(folder)


def test_an_empty_action(folder):
    change(folder, "classes.yml", "after_repair: Replace the GPU.", 'after_repair: " "')
    refused(folder, "classes.yml:", "empty action")


def test_a_place_to_fill_in_that_nobody_fills(folder):
    change(folder, "classes.yml", "Nothing now: it is", "Nothing now on <it>: it is")
    refused(folder, "classes.yml:", "informational_action", "<it>", "<GPU>")
    shutil.copy(SHIPPED / "classes.yml", folder)
    change(folder, "classes.yml", "Replace the GPU; if its slot", "Replace <GPU index>; if its slot")
    refused(folder, "classes.yml:", "device_lost, nvidia", "<GPU index>")
    shutil.copy(SHIPPED / "classes.yml", folder)
    line = append(folder, "nvidia_xids.csv", "888,host,,,,SOMETHING,,Reset <it>.")
    refused(folder, f"nvidia_xids.csv:{line}:", "<it>")


def test_a_source_that_does_not_exist(folder):
    change(folder, "classes.yml", "nvidia: [nvml, kernel_log]", "nvidia: [nvml, dmesg]")
    refused(folder, "classes.yml:", "device_lost, nvidia", "'dmesg'", "kernel_log")


def test_a_vendor_that_does_not_exist(folder):
    change(folder, "classes.yml", "      host: []\n", "      host: []\n      amd: []\n")
    refused(folder, "classes.yml:", "'amd'")


def test_a_vendor_of_which_nothing_is_said(folder):
    change(folder, "classes.yml", "      host: []\n", "")
    refused(folder, "classes.yml:", "device_lost, host")


def test_a_line_with_an_unknown_property(folder):
    change(folder, "logs.yml", "  segfault: {class: software_job,", "  segfault: {klass: software_job,")
    with pytest.raises(TaxonomyError, match=r"^logs\.yml:\d+: segfault: .*(klass|class)"):
        loader.read(folder)


def test_a_line_that_carries_codes_of_a_family_that_does_not_exist(folder):
    change(folder, "logs.yml", "code_family: ascend", "code_family: davinci")
    refused(folder, "logs.yml:", "davinci", "ascend")


def test_what_is_not_yaml(folder):
    change(folder, "logs.yml", "  EI0003: {", "  EI0003: {{")
    with pytest.raises(TaxonomyError, match=r"^logs\.yml:\d+: not YAML"):
        loader.read(folder)


def test_a_file_without_its_keys(folder):
    (folder / "logs.yml").write_text("hccl: {}\n")
    refused(folder, "logs.yml:1:", "lines")
    (folder / "logs.yml").write_text("")
    refused(folder, "logs.yml:1:", "lines")
