"""Label selectors of Calico v3.14: parsing, matching, canonical text, and the index of who matches what. No I/O.

`calico.selector.parser.parse` reads one; `calico.selector.index.LabelIndex` keeps matches up to date.
"""
