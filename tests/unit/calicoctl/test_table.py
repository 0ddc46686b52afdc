"""Tables to the character: scripts cut them by column."""

from calico.calicoctl.output.table import bordered, render


def test_every_cell_is_padded_and_a_blank_line_follows() -> None:
    assert render([["NAME", "A"], ["default-ipv4-ippool", "x"]]) == (
        "NAME                  A    \ndefault-ipv4-ippool   x    \n\n"
    )


def test_borders_and_centred_headings() -> None:
    assert bordered([["GROUPING", "IPS"], ["IP Pool", "65536"]]) == (
        "+----------+-------+\n| GROUPING |  IPS  |\n+----------+-------+\n| IP Pool  | 65536 |\n+----------+-------+\n"
    )
