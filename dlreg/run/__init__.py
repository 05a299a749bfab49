"""One experiment, start to end: parts, loop, evaluation, result, durable writes, provenance."""
