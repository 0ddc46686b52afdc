"""Where releases are kept: a folder, a bucket, or (to read) a web server."""
