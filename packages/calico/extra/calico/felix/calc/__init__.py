"""From the datastore's resources to the desired dataplane: pure, incremental, and the same in whatever order they come.

`graph.Graph` takes a syncer's updates, whose values `inputs.DECODERS` makes, and gives out what
`calico.felix.desired.Changes` describes.
"""
