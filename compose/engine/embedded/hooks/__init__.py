"""Commands around the life of a container (Compose specification, services, lifecycle hooks).

    pre_start     before it starts, each in a container of its own that shares its volumes and networks; must
                  exit with 0, or the container does not start
    post_start    in it, once it runs; the first one that fails ends the command, and the container runs on
    pre_stop      in it, before it is stopped; one that fails leaves it running

    common     what all of them are: a process, its output, its failure
    inside     post_start and pre_stop
    before     pre_start

What a hook writes is told as a detail of the operation; the last line goes into the error. ``pre_start`` runs
once a service and again when its definition or image changes, after a failure, and with --force-recreate;
with ``per_replica`` that holds for each container. What has succeeded stands in DATA/hooks/PROJECT.json.
"""
