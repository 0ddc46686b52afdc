"""What calicoctl can do, one module per command or family; each is loaded only when it runs."""
