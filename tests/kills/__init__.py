"""What is left of a repository whose programs are killed, again and again, at random moments?

`python -m tests.kills --moments 500` kills puts, ingests, conversions, transfers, removals and
copies so often each, on each database with files on disks and at S3, prints what was found, and
ends with status 1 when something was not as it must be.  `world` is where it happens, `verbs` what
is done and what must be so after, `killing` draws the moments and judges.
"""
