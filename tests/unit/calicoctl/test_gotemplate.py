"""Go templates: what a user of `kubectl` or `calicoctl` writes, and what they get."""

import pytest

from calico.calicoctl.output.gotemplate import TemplateError, execute

_POOLS = [
    {
        "kind": "IPPoolList",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"resourceVersion": "12"},
        "items": [
            {"kind": "IPPool", "metadata": {"name": "a"}, "spec": {"cidr": "10.0.0.0/16", "natOutgoing": True}},
            {
                "kind": "IPPool",
                "metadata": {"name": "b", "labels": {"x": "1", "y": "2"}},
                "spec": {"cidr": "10.1.0.0/16"},
            },
        ],
    }
]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{range .}}{{range .Items}}{{.ObjectMeta.Name}} {{end}}{{end}}", "a b "),
        ("{{range .}}{{range .Items}}{{.Name}}={{.Spec.CIDR}};{{end}}{{end}}", "a=10.0.0.0/16;b=10.1.0.0/16;"),
        ("{{range .}}{{range .Items}}{{if .Spec.NATOutgoing}}nat{{else}}-{{end}},{{end}}{{end}}", "nat,-,"),
        ("{{range .}}{{range $i, $p := .Items}}{{$i}}:{{$p.Name}} {{end}}{{end}}", "0:a 1:b "),
        ("{{range .}}\n  {{- range .Items -}}\n {{.Name}}\n {{- end -}}\n{{end}}", "ab"),
        ("{{with $x := 5}}{{$x}}{{end}}", "5"),
        ("{{$n := len .}}{{$n}}", "1"),
        ("{{/* nothing */}}x", "x"),
        ('{{"a\\tb"}}{{`c\\t`}}', "a\tbc\\t"),
        ('{{range .}}{{range .Items}}{{join .ObjectMeta.Labels ";"}}{{end}}{{end}}', "x=1;y=2"),
        ('{{range .}}{{range .Items}}{{joinAndTruncate .ObjectMeta.Labels "," 6}}|{{end}}{{end}}', "|x=1...|"),
        ("{{if eq 1 2}}a{{else if gt 3 2}}b{{else}}c{{end}}", "b"),
        ("{{if and true (not false)}}yes{{end}}", "yes"),
        ('{{printf "%-5s|%d" "ab" 7}}', "ab   |7"),
        ('{{println "x" 1}}', "x 1\n"),
        ('{{range .}}{{range .Items}}{{if eq .Name "b"}}{{continue}}{{end}}{{.Name}}{{end}}{{end}}', "a"),
        ("{{range .}}{{range .Items}}{{.Name}}{{break}}{{end}}{{end}}", "a"),
        ("{{range .}}{{.Nothing}}{{end}}", "<no value>"),
        ("{{range (index . 0).Missing}}x{{else}}none{{end}}", "none"),
    ],
)
def test_template_gives(template: str, expected: str) -> None:
    assert execute(template, _POOLS) == expected


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{range .}}", "range has no end"),
        ("{{end}}", "stands outside"),
        ("a\n{{.X", "line 1: unclosed action"),
        ("{{}}", "missing value"),
        ("{{nosuch 1}}", 'function "nosuch" not defined'),
        ('{{define "x"}}{{end}}', "define is not supported"),
        ("{{$x}}", "undefined variable"),
        ("{{(1}}", "unclosed left paren"),
        ("{{1 2}}", "can't give argument"),
        ("{{len 5}}", "error calling len"),
        ("{{.Missing}}", "can't evaluate field Missing"),
        ("\n\n{{%}}", "line 3: unexpected '%'"),
    ],
)
def test_a_broken_template_says_what_is_wrong(template: str, says: str) -> None:
    with pytest.raises(TemplateError) as caught:
        execute(template, _POOLS)
    assert says in str(caught.value)
