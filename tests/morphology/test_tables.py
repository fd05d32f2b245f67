import re

import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import WhiskerArray, mouse_array

HEADER = (
    "whisker,arc_length_mm,curvature_per_mm,theta_w_deg,phi_w_deg,zeta_w_deg,"
    "r_bp_mm,theta_bp_deg,phi_bp_deg"
)
C2 = "C2,15.2646,0.00940723,78.4761,23.532,41.7584,4.37193,-6.41496,4.34721"


@pytest.fixture
def read(tmp_path):
    def read(*lines: str, **options) -> WhiskerArray:
        path = tmp_path / "mine.csv"
        path.write_text("\n".join(lines) + "\n")
        return WhiskerArray.from_table(path, **options)

    return read


def test_a_user_table(read):
    array = read(HEADER, C2, "", "# a remark", "L" + C2, origin_mm=(0, 13, 1.5))
    assert array.names == ("RC2", "LC2")
    assert array.species == "user"
    assert array["RC2"] == mouse_array()["RC2"]
    assert array["LC2"] == mouse_array("L")["LC2"]


def test_names_without_a_side_and_comments(read):
    array = read("# species: vole", "# origin_mm: 0, 13, 1.5", HEADER, C2, side="L")
    assert array == WhiskerArray(
        whiskers=(mouse_array("L")["LC2"],),
        species="vole",
        source=array.source,
        parameters="physical",
        origin_mm=(0, 13, 1.5),
    )


def test_optional_columns_override_and_empty_cells_do_not(read):
    header = HEADER + ",radius_base_um,young_modulus_GPa,damping_ratio,rest_shape"
    array = read(header, C2 + ",60,3.5,,published", "R" + C2.replace("C2", "C3") + ",,,,")
    assert array["RC2"].radius_base_mm == pytest.approx(0.060)
    assert array["RC2"].young_modulus_Pa == pytest.approx(3.5e9)
    assert array["RC2"].damping_ratio == 0.14
    assert array["RC2"].rest_shape == "published"
    assert array["RC3"].young_modulus_Pa == 5e9


def test_a_table_as_spreadsheets_write_it(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{C2}\r\n".encode())
    assert WhiskerArray.from_table(path).names == ("RC2",)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "mine.csv: the table is empty"),
        ([HEADER], "mine.csv: the table is empty"),
        ([HEADER.replace(",zeta_w_deg", ""), C2], "line 1, columns = .*lacking zeta_w_deg"),
        ([HEADER + ",colour", C2 + ",red"], "line 1, columns = ['colour']: unknown"),
        ([HEADER + ",whisker", C2 + ",x"], "line 1, columns = ['whisker']: given more than once"),
        ([HEADER, C2 + ",1"], "line 2 = .*: 10 cells under 9 columns"),
        ([HEADER, C2, C2], "line 3, column whisker = 'C2': this whisker has a line already"),
        ([HEADER, C2, "R" + C2], "line 3, column whisker = 'RC2': this whisker has a line already"),
        ([HEADER, "X" + C2], "line 2, column whisker = 'XC2': not a whisker's name"),
        (
            [HEADER, C2.replace("15.2646", "15,2646")],
            "line 2 = .*: 10 cells under 9 columns",
        ),
        (
            [HEADER, C2.replace("15.2646", "15 mm")],
            "line 2, column arc_length_mm = '15 mm': not a finite number; write it with a decimal",
        ),
        ([HEADER, C2.replace("15.2646", "nan")], "column arc_length_mm = 'nan': not a finite"),
        ([HEADER, C2.replace("15.2646", "")], "column arc_length_mm = '': empty; fill in a number"),
        (
            [HEADER, C2.replace("15.2646", "-3")],
            "line 2, column arc_length_mm = '-3': must be positive; correct the number",
        ),
        ([HEADER, C2.replace("0.00940723", "-0.1")], "curvature_per_mm = '-0.1': must be zero"),
        ([HEADER + ",radius_tip_um", C2 + ",500"], "line 2: RC2: radius_tip_mm = 0.5: larger than"),
        ([HEADER + ",joint_rule", C2 + ",spring"], "line 2: RC2: joint_rule = 'spring'"),
        ([HEADER, C2.replace("C2", "F2")], "line 2: whisker = 'RF2': the regression of radii"),
        (["# origin_mm: 0 13", HEADER, C2], "comment origin_mm = '0 13': not three numbers"),
    ],
)
def test_complaints_name_file_line_column_value_reason_and_remedy(read, lines, complaint):
    pattern = ".*".join(re.escape(part) for part in complaint.split(".*"))
    with pytest.raises(InputError, match=pattern) as caught:
        read(*lines)
    assert "mine.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read .*give the path of a CSV file"):
        WhiskerArray.from_table(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        WhiskerArray.from_table(tmp_path / "binary.csv")
