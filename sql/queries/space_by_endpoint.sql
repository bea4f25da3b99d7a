-- How full is each endpoint, and is it on line?
-- Asked by: storage administrators
-- Reads: whole tables
SELECT h.site, h.endpoint, h.endpoint_state, h.state, h.n_replicas, h.size_bytes
FROM replica_health AS h
ORDER BY h.site, h.endpoint, h.state
