"""The doors: records on the wire, analyses in workers, the server and its client."""
