-- Which observations of the sky does the archive hold, as the Virtual Observatory asks: IVOA ObsCore 1.1?
-- Row key: obs_publisher_did.
-- Raw and processed frames of science exposures, and what is made on patches of the sky, as far as a copy is on line.
-- Times are MJD in UTC; positions ICRS.  Numbers that nobody recorded are NULL, as the standard allows.
-- A raw frame has calib_level 1, a frame that a task made 2, one on a patch 3, a catalogue 4.
-- access_url: below the access_url of the endpoint, else of its root; relative where the root is the repository itself.
-- Columns:
--   dataproduct_type     text                 {meta.code.class} image or measurements
--   dataproduct_subtype  text                 {meta.code.class} Dataset type
--   calib_level          integer              {meta.code;obs.calib} 0 to 4: how far it is processed
--   obs_collection       text                 {meta.id} RUN collection
--   obs_id               text                 {meta.id} Identifier of the observation, shared by its products
--   obs_publisher_did    text                 {meta.ref.ivoid} Global identifier: repository and dataset
--   access_url           text                 {meta.ref.url} Where the file is
--   access_format        text                 {meta.code.mime} Media type of the file
--   access_estsize       integer   [kbyte]    {phys.size;meta.file} Size of the file
--   target_name          text                 {meta.id;src} Target as observed
--   s_ra                 double    [deg]      {pos.eq.ra} Right ascension of the middle
--   s_dec                double    [deg]      {pos.eq.dec} Declination of the middle
--   s_fov                double    [deg]      {phys.angSize;instr.fov} Diameter of a circle around it
--   s_region             text                 {pos.outline;obs.field} Outline, STC-S
--   s_xel1               integer              {meta.number} Pixels along the first axis
--   s_xel2               integer              {meta.number} Pixels along the second axis
--   s_resolution         double    [arcsec]   {pos.angResolution} Spatial resolution
--   t_min                double    [d]        {time.start;obs.exposure} Begin, MJD
--   t_max                double    [d]        {time.end;obs.exposure} End, MJD
--   t_exptime            double    [s]        {time.duration;obs.exposure} Total exposure time
--   t_resolution         double    [s]        {time.resolution} Temporal resolution
--   t_xel                integer              {meta.number} Elements along the time axis
--   em_min               double    [m]        {em.wl;stat.min} Blue end of the passband
--   em_max               double    [m]        {em.wl;stat.max} Red end of the passband
--   em_res_power         double               {spect.resolution} Middle of the passband over its width
--   em_xel               integer              {meta.number} Elements along the spectral axis
--   o_ucd                text                 {meta.ucd} What the pixels tell
--   pol_states           text                 {meta.code;phys.polarization} Polarization states
--   pol_xel              integer              {meta.number} Number of polarization states
--   facility_name        text                 {meta.id;instr.tel} Telescope or observatory
--   instrument_name      text                 {meta.id;instr} Camera
--   dataset_id           uuid                 {meta.id} The dataset, as in the other tables; not of ObsCore
WITH leap AS (
    SELECT 63072010000000000 AS begin_tai_ns, 10 AS tai_minus_utc_s
    UNION ALL SELECT 78796811000000000, 11
    UNION ALL SELECT 94694412000000000, 12
    UNION ALL SELECT 126230413000000000, 13
    UNION ALL SELECT 157766414000000000, 14
    UNION ALL SELECT 189302415000000000, 15
    UNION ALL SELECT 220924816000000000, 16
    UNION ALL SELECT 252460817000000000, 17
    UNION ALL SELECT 283996818000000000, 18
    UNION ALL SELECT 315532819000000000, 19
    UNION ALL SELECT 362793620000000000, 20
    UNION ALL SELECT 394329621000000000, 21
    UNION ALL SELECT 425865622000000000, 22
    UNION ALL SELECT 489024023000000000, 23
    UNION ALL SELECT 567993624000000000, 24
    UNION ALL SELECT 631152025000000000, 25
    UNION ALL SELECT 662688026000000000, 26
    UNION ALL SELECT 709948827000000000, 27
    UNION ALL SELECT 741484828000000000, 28
    UNION ALL SELECT 773020829000000000, 29
    UNION ALL SELECT 820454430000000000, 30
    UNION ALL SELECT 867715231000000000, 31
    UNION ALL SELECT 915148832000000000, 32
    UNION ALL SELECT 1136073633000000000, 33
    UNION ALL SELECT 1230768034000000000, 34
    UNION ALL SELECT 1341100835000000000, 35
    UNION ALL SELECT 1435708836000000000, 36
    UNION ALL SELECT 1483228837000000000, 37
), contribution AS (
    SELECT o.dataset_id, m.instrument,
           COALESCE(v.begin_tai_ns, x.begin_tai_ns) AS begin_tai_ns,
           MAX(COALESCE(v.end_tai_ns, x.end_tai_ns)) AS end_tai_ns,
           MAX(COALESCE(v.exposure_time, x.exposure_time)) AS exposure_time
    FROM data_id AS p
    JOIN dataset AS made ON made.data_id = p.id
    JOIN quantum_output AS o ON o.dataset_id = made.id
    JOIN quantum_input AS q ON q.quantum_id = o.quantum_id
    JOIN dataset AS used ON used.id = q.dataset_id
    JOIN data_id AS m ON m.id = used.data_id
    LEFT JOIN visit AS v ON v.instrument = m.instrument AND v.id = m.visit
    LEFT JOIN exposure AS x ON x.instrument = m.instrument AND x.id = m.exposure
    WHERE p.patch IS NOT NULL AND (m.visit IS NOT NULL OR m.exposure IS NOT NULL)
    GROUP BY o.dataset_id, m.instrument, COALESCE(v.begin_tai_ns, x.begin_tai_ns)
), stack AS (
    SELECT dataset_id, MIN(instrument) AS instrument, MIN(begin_tai_ns) AS begin_tai_ns,
           MAX(end_tai_ns) AS end_tai_ns, SUM(exposure_time) AS exposure_time
    FROM contribution
    GROUP BY dataset_id
), passband AS (
    SELECT instrument, band, MIN(wavelength_min_m) AS wavelength_min_m,
           MAX(wavelength_max_m) AS wavelength_max_m
    FROM physical_filter
    GROUP BY instrument, band
), product AS (
    SELECT d.id AS dataset_id,
           d.run_id,
           t.name AS dataset_type,
           CASE WHEN t.storage_class = 'Exposure' THEN 'image'
                WHEN t.storage_class IN ('Table', 'DataFrame') THEN 'measurements' END AS product_type,
           i.skymap, i.tract, i.patch, i.band, i.detector,
           CASE WHEN o.quantum_id IS NULL AND i.visit IS NULL THEN 1 ELSE 2 END AS frame_level,
           COALESCE(i.instrument, s.instrument) AS instrument,
           COALESCE(i.visit, (SELECT MIN(e.visit)
                              FROM visit_exposure AS e
                              WHERE e.instrument = i.instrument AND e.exposure = i.exposure)) AS visit,
           COALESCE(x.obs_id, v.name) AS obs_id,
           COALESCE(x.target_name, v.target_name) AS target_name,
           COALESCE(i.physical_filter, x.physical_filter, v.physical_filter) AS physical_filter,
           COALESCE(x.ra, v.ra) AS ra,
           COALESCE(x.dec, v.dec) AS dec_,
           COALESCE(x.begin_tai_ns, v.begin_tai_ns, s.begin_tai_ns) AS begin_tai_ns,
           COALESCE(x.end_tai_ns, v.end_tai_ns, s.end_tai_ns) AS end_tai_ns,
           COALESCE(x.exposure_time, v.exposure_time, s.exposure_time) AS exposure_time
    FROM dataset AS d
    JOIN dataset_type AS t ON t.id = d.dataset_type_id
    JOIN data_id AS i ON i.id = d.data_id
    LEFT JOIN quantum_output AS o ON o.dataset_id = d.id
    LEFT JOIN exposure AS x ON x.instrument = i.instrument AND x.id = i.exposure
    LEFT JOIN visit AS v ON v.instrument = i.instrument AND v.id = i.visit
    LEFT JOIN stack AS s ON s.dataset_id = d.id
    WHERE t.storage_class IN ('Exposure', 'Table', 'DataFrame')
      AND (x.observation_type = 'science' OR i.visit IS NOT NULL OR i.patch IS NOT NULL)
)
SELECT p.product_type AS dataproduct_type,
       p.dataset_type AS dataproduct_subtype,
       CASE WHEN p.product_type = 'measurements' THEN 4
            WHEN p.patch IS NOT NULL THEN 3
            ELSE p.frame_level END AS calib_level,
       c.name AS obs_collection,
       COALESCE(p.obs_id, p.skymap || '/' || CAST(p.tract AS CHAR(12)) || '/' || CAST(p.patch AS CHAR(12))
                          || COALESCE('/' || p.band, '')) AS obs_id,
       'ivo://skyspine/' || LOWER(REPLACE(CAST(here.id AS CHAR(36)), '-', ''))
           || '?' || LOWER(REPLACE(CAST(p.dataset_id AS CHAR(36)), '-', '')) AS obs_publisher_did,
       CASE WHEN n.access_url IS NOT NULL THEN n.access_url || '/'
            WHEN n.root = '.' THEN ''
            WHEN n.root = '' THEN 'file://'
            WHEN SUBSTR(n.root, 1, 1) = '/' THEN 'file://' || n.root || '/'
            ELSE n.root || '/' END
           || REPLACE(REPLACE(REPLACE(REPLACE(f.path, '%', '%25'), ' ', '%20'), '#', '%23'), '?', '%3F')
           AS access_url,
       CASE f.formatter WHEN 'fits-image' THEN 'image/fits'
                        WHEN 'fits-table' THEN 'application/fits'
                        WHEN 'parquet' THEN 'application/vnd.apache.parquet'
                        WHEN 'ecsv' THEN 'text/csv'
                        ELSE 'application/octet-stream' END AS access_format,
       CAST((f.size_bytes + 999 - (f.size_bytes + 999) % 1000) / 1000 AS BIGINT) AS access_estsize,
       p.target_name,
       COALESCE(g.center_ra, a.center_ra, p.ra) AS s_ra,
       COALESCE(g.center_dec, a.center_dec, p.dec_) AS s_dec,
       COALESCE(g.diameter_deg, a.diameter_deg, k.field_of_view_deg) AS s_fov,
       COALESCE(g.stc_s, a.stc_s) AS s_region,
       CASE WHEN p.product_type = 'image' THEN e.ncols END AS s_xel1,
       CASE WHEN p.product_type = 'image' THEN e.nrows END AS s_xel2,
       CAST(NULL AS DOUBLE PRECISION) AS s_resolution,
       40587 + CAST(p.begin_tai_ns - CAST(1000000000 AS BIGINT) * COALESCE(
           (SELECT MAX(tai_minus_utc_s) FROM leap WHERE leap.begin_tai_ns <= p.begin_tai_ns), 10
       ) AS DOUBLE PRECISION) / 86400000000000 AS t_min,
       40587 + CAST(p.end_tai_ns - CAST(1000000000 AS BIGINT) * COALESCE(
           (SELECT MAX(tai_minus_utc_s) FROM leap WHERE leap.begin_tai_ns <= p.end_tai_ns), 10
       ) AS DOUBLE PRECISION) / 86400000000000 AS t_max,
       p.exposure_time AS t_exptime,
       CAST(NULL AS DOUBLE PRECISION) AS t_resolution,
       CAST(NULL AS BIGINT) AS t_xel,
       COALESCE(l.wavelength_min_m, b.wavelength_min_m) AS em_min,
       COALESCE(l.wavelength_max_m, b.wavelength_max_m) AS em_max,
       (COALESCE(l.wavelength_min_m, b.wavelength_min_m) + COALESCE(l.wavelength_max_m, b.wavelength_max_m))
           / 2 / NULLIF(COALESCE(l.wavelength_max_m, b.wavelength_max_m)
                        - COALESCE(l.wavelength_min_m, b.wavelength_min_m), 0) AS em_res_power,
       CAST(NULL AS BIGINT) AS em_xel,
       CASE WHEN p.product_type = 'image' THEN 'phot.count' END AS o_ucd,
       CAST(NULL AS CHAR(8)) AS pol_states,
       CAST(NULL AS BIGINT) AS pol_xel,
       k.facility AS facility_name,
       p.instrument AS instrument_name,
       p.dataset_id
FROM product AS p
CROSS JOIN repository AS here
JOIN collection AS c ON c.id = p.run_id
JOIN file AS f ON f.dataset_id = p.dataset_id
    AND f.id = (SELECT MIN(one.id) FROM file AS one WHERE one.dataset_id = p.dataset_id)
JOIN replica AS r ON r.file_id = f.id AND r.state = 'available'
    AND r.endpoint_id = (SELECT MIN(copy.endpoint_id)
                         FROM replica AS copy
                         JOIN endpoint AS at ON at.id = copy.endpoint_id AND at.state = 'online'
                         WHERE copy.file_id = f.id AND copy.state = 'available')
JOIN endpoint AS n ON n.id = r.endpoint_id
LEFT JOIN instrument AS k ON k.name = p.instrument
LEFT JOIN detector AS e ON e.instrument = p.instrument AND e.id = p.detector
LEFT JOIN physical_filter AS l ON l.instrument = p.instrument AND l.name = p.physical_filter
LEFT JOIN passband AS b ON b.instrument = p.instrument AND b.band = p.band
LEFT JOIN visit_detector_region AS g
    ON g.instrument = p.instrument AND g.visit = p.visit AND g.detector = p.detector
LEFT JOIN patch AS a ON a.skymap = p.skymap AND a.tract = p.tract AND a.id = p.patch
