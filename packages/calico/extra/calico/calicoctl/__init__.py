"""calicoctl: the operator's command line over the datastore."""
