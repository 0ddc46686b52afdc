"""What agents of a lab see at /opt/dcos-lab/bin: stand-ins for parts of DC/OS that are not of this repository."""
