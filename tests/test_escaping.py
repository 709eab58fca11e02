"""Text of others in Markdown, LaTeX and CSV: by hand, what each special character becomes."""

from glance_bench.report.escaping import csv_text, latex, markdown


def test_markdown() -> None:
    assert markdown("a|b\nc") == "a\\|b c"
    assert markdown("[0.25, 0.5]") == "[0.25, 0.5]"
    assert markdown("[a](b) [c]: d *e* `f` $g$ <h> &lt; ~i_ \\") == (
        "[a]\\(b) [c]\\: d \\*e\\* \\`f\\` \\$g\\$ &lt;h&gt; &amp;lt; \\~i\\_ \\\\"
    )
    assert markdown("- no list") == "\\- no list"


def test_markdown_makes_no_links_on_github() -> None:
    assert markdown("@all #1 https://x www.y") == ("@\u2060all #\u20601 https:\u2060//x www\u2060.y")
    assert not markdown("# no heading").startswith("# ")


def test_latex() -> None:
    assert latex("50 % of_x & {y} $z$ ~^ <|>\\") == (
        "50 \\% of\\_x \\& \\{y\\} \\$z\\$ \\textasciitilde{}\\textasciicircum{} "
        "\\textless{}\\textbar{}\\textgreater{}\\textbackslash{}"
    )
    assert latex("[a--b*] \u4e2d \xe9") == "{[}a{-}{-}b{*}] U+4E2D \xe9"
    assert latex("1\u20132 \u2191\u2020") == "1\\textendash{}2 $\\uparrow$\\textdagger{}"


def test_csv_has_no_formulas() -> None:
    assert [csv_text(text) for text in ("=1+1", "a=b", "-x", "\t@x")] == ["'=1+1", "a=b", "'-x", " @x"]
