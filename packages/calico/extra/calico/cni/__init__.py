"""CNI: the plugins `calico` and `calico-ipam`, and the engine behind both.

`client.py` is what a runtime starts, `plugin.Plugin` does the work, in the agent or, when that is away, in the plugin's
own process. docs/explanation/cni.md says what it promises.
"""
