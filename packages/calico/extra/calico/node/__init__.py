"""A node's place in the cluster: start-up, tunnel addresses, the collector, and the agent that keeps them right.

`agent.main` is what `dcos-calico-node` runs. docs/explanation/agent.md says what it promises.
"""
