// Nothing to call: see socket_errors.c.
