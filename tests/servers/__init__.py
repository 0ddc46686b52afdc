"""Real servers for tests: fetched from Debian's archive, unpacked into a cache, never installed, stopped by pid."""
