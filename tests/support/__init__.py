"""What tests stand on: worlds, fixtures, databases, proxies, builders."""
