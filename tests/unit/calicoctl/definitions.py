"""Definitions of applications, pods and groups as people have them, and what a migration makes of each.

`changes` are the texts that become others, each once; everything else must stay as it is. `decide` are words of what is
left to a person, and then nothing changes; `told` are words of what is only said.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """One definition."""

    name: str
    before: str
    changes: tuple[tuple[str, str], ...] = ()
    decide: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def after(self) -> str:
        text = self.before
        for old, new in self.changes:
            assert text.count(old) >= 1, (self.name, old)
            text = text.replace(old, new, 1)
        return text


_NAME = ('"name": "dcos"', '"name": "calico"')
_LEGACY = ('"networkName": "dcos"', '"networkName": "calico"')

CASES = (
    # ------------------------------------------------------------------------------------ networks, since Marathon 1.5
    Case(
        "ucr",
        """{
  "id": "/web", "instances": 2, "cpus": 0.1, "mem": 128,
  "container": {"type": "MESOS", "docker": {"image": "nginx"}, "portMappings": []},
  "networks": [
    {
      "mode": "container",
      "name": "dcos"
    }
  ],
  "healthChecks": []
}
""",
        (_NAME,),
    ),
    Case(
        "docker",
        '{"id": "/web", "container": {"type": "DOCKER", "docker": {"image": "nginx"}},'
        ' "networks": [{"mode": "container", "name": "dcos"}]}',
        (_NAME,),
    ),
    Case("a-change-without-an-id", '{"networks": [{"mode": "container", "name": "dcos"}], "x": 1}', (_NAME,)),
    Case("an-old-change-without-an-id", '{"ipAddress": {"networkName": "dcos"}}', (_LEGACY,)),
    Case("mode-left-out", '{"id": "/a", "networks": [{"name": "dcos"}]}', (_NAME,)),
    Case(
        "mode-in-capitals",
        '{"id": "/a", "networks": [{"mode": "CONTAINER", "name": "dcos"}]}',
        (_NAME,),
    ),
    Case(
        "default-network",
        '{"id": "/a", "networks": [{"mode": "container"}]}',
        (('"mode": "container"', '"mode": "container", "name": "calico"'),),
    ),
    Case(
        "default-network-over-lines",
        '{\n  "id": "/a",\n  "networks": [\n    {\n      "mode": "container"\n    }\n  ]\n}\n',
        (('"mode": "container"', '"mode": "container",\n      "name": "calico"'),),
    ),
    Case("default-network-empty-object", '{"id": "/a", "networks": [{}]}', (("{}", '{"name": "calico"}'),)),
    Case("host-network", '{"id": "/a", "networks": [{"mode": "host"}]}'),
    Case("bridge-network", '{"id": "/a", "networks": [{"mode": "container/bridge"}]}'),
    Case("no-network", '{"id": "/a", "cmd": "sleep 1000"}'),
    Case("already-there", '{"id": "/a", "networks": [{"mode": "container", "name": "calico"}]}'),
    Case("another-overlay", '{"id": "/a", "networks": [{"mode": "container", "name": "dcos-2"}]}'),
    Case(
        "labels-are-kept",
        '{"id": "/a", "networks": [{"mode": "container", "name": "dcos", "labels": {"role": "server"}}]}',
        (_NAME,),
    ),
    Case(
        "labels-too-long",
        f'{{"id": "/a", "networks": [{{"name": "dcos", "labels": {{"role": "{"x" * 64}", "bad key": "y"}}}}]}}',
        (_NAME,),
        told=("more than 63 bytes", "no name that a Calico label may have"),
    ),
    Case(
        "two-networks",
        '{"id": "/a", "networks": [{"name": "storage"}, {"name": "dcos"}], "container": {"type": "MESOS",'
        ' "portMappings": [{"containerPort": 80, "networkNames": ["dcos"]}, {"containerPort": 81,'
        ' "networkNames": ["storage"]}]}}',
        (_NAME, ('["dcos"]', '["calico"]')),
    ),
    Case(
        "both-networks",
        '{"id": "/a", "networks": [{"name": "calico"}, {"name": "dcos"}]}',
        decide=("twice",),
    ),
    # ----------------------------------------------------------------------------------------------------- ports
    Case(
        "ucr-host-port",
        '{"id": "/a", "container": {"type": "MESOS", "portMappings": [{"containerPort": 80, "hostPort": 0}]},'
        ' "networks": [{"name": "dcos"}]}',
        (_NAME,),
    ),
    Case(
        "docker-host-port",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x"}, "portMappings":'
        ' [{"containerPort": 80, "hostPort": 8080}]}, "networks": [{"name": "dcos"}]}',
        decide=("port 8080 of the host",),
    ),
    Case(
        "docker-port-without-host",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x"}, "portMappings":'
        ' [{"containerPort": 80, "hostPort": null, "labels": {"VIP_0": "/a:80"}}]}, "networks": [{"name": "dcos"}]}',
        (_NAME,),
    ),
    Case(
        "docker-any-host-port",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x", "portMappings":'
        ' [{"containerPort": 80, "hostPort": 0}]}}, "networks": [{"name": "dcos"}]}',
        decide=("port any of the host",),
    ),
    # --------------------------------------------------------------------------------- ipAddress, before Marathon 1.5
    Case(
        "ip-address",
        '{"id": "/a", "cmd": "x", "ipAddress": {"networkName": "dcos", "labels": {"role": "db"}, "discovery":'
        ' {"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]}}}',
        (_LEGACY,),
    ),
    Case("ip-address-default", '{"id": "/a", "ipAddress": {}}', (("{}}", '{"networkName": "calico"}}'),)),
    Case(
        "ip-address-default-with-members",
        '{"id": "/a", "ipAddress": {"groups": []}}',
        (('"groups": []', '"groups": [], "networkName": "calico"'),),
    ),
    Case("ip-address-null", '{"id": "/a", "ipAddress": null}'),
    Case("ip-address-other", '{"id": "/a", "ipAddress": {"networkName": "weave"}}'),
    Case(
        "docker-user",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x", "network": "USER"}},'
        ' "ipAddress": {"networkName": "dcos"}}',
        (_LEGACY,),
    ),
    Case(
        "docker-bridge",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x", "network": "BRIDGE",'
        ' "portMappings": [{"containerPort": 80, "hostPort": 0}]}}}',
    ),
    Case(
        "docker-host-with-a-network",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x", "network": "HOST"}},'
        ' "ipAddress": {"networkName": "dcos"}}',
        decide=("which is meant",),
    ),
    Case(
        "docker-parameter",
        '{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x", "parameters":'
        ' [{"key": "net", "value": "dcos"}, {"key": "hostname", "value": "dcos"}]}}}',
        (('"key": "net", "value": "dcos"', '"key": "net", "value": "calico"'),),
    ),
    # ------------------------------------------------------------------------------------------------------ pods
    Case(
        "pod",
        '{"id": "/p", "containers": [{"name": "c", "endpoints": [{"name": "http", "containerPort": 80,'
        ' "hostPort": 0}]}], "networks": [{"mode": "container", "name": "dcos"}]}',
        (_NAME,),
    ),
    Case("pod-on-host", '{"id": "/p", "containers": [{"name": "c"}], "networks": [{"mode": "host"}]}'),
    Case(
        "pod-endpoint-of-a-network",
        '{"id": "/p", "containers": [{"name": "c", "endpoints": [{"name": "e", "networkNames": ["dcos"]}]}],'
        ' "networks": [{"name": "dcos"}, {"name": "other"}]}',
        (('["dcos"]', '["calico"]'), _NAME),
    ),
    # ------------------------------------------------------------------------------------------- groups, lists, answers
    Case(
        "group",
        '{"id": "/", "apps": [], "groups": [{"id": "/g", "apps": [{"id": "/g/a", "networks": [{"name": "dcos"}]}],'
        ' "pods": [{"id": "/g/p", "networks": [{"name":"dcos"}]}], "groups": []}]}',
        (_NAME, ('"name":"dcos"', '"name":"calico"')),
    ),
    Case(
        "list",
        '[{"id": "/a", "networks": [{"name": "dcos"}]}, {"id": "/b", "networks": [{"mode": "host"}]}]',
        (_NAME,),
    ),
    Case("answer-of-one", '{"app": {"id": "/a", "networks": [{"name": "dcos"}]}}', (_NAME,)),
    Case("answer-of-all", '{"apps": [{"id": "/a", "networks": [{"name": "dcos"}]}]}', (_NAME,)),
    Case(
        "only-one-of-a-group-is-undecided",
        '{"id": "/g", "apps": [{"id": "/g/a", "networks": [{"name":"dcos"},{"name":"calico"}]},'
        ' {"id": "/g/b", "networks": [{"name": "dcos"}]}]}',
        (_NAME,),
        decide=("twice",),
    ),
    # --------------------------------------------------------------------------------------- elsewhere in a definition
    Case(
        "scheduler",
        '{"id": "/svc", "env": {"VIRTUAL_NETWORK_NAME": "dcos", "NAME": "dcos"}, "networks": [{"name": "dcos"}]}',
        (
            ('"VIRTUAL_NETWORK_NAME": "dcos"', '"VIRTUAL_NETWORK_NAME": "calico"'),
            ('[{"name": "dcos"', '[{"name": "calico"'),
        ),
    ),
    Case(
        "address-of-the-overlay",
        '{"id": "/a", "env": {"DB": "http://9.0.3.130:5432/x", "VERSION": "9.0.3", "DNS": "8.8.8.8"},'
        ' "networks": [{"name": "dcos"}]}',
        (_NAME,),
        told=("env.DB has 9.0.3.130",),
    ),
    Case(
        "label-of-that-name",
        '{"id": "/a", "labels": {"NETWORK": "dcos"}, "networks": [{"name": "dcos"}]}',
        (_NAME,),
        told=("labels are left alone",),
    ),
    Case(
        "odd-formatting",
        '\ufeff\r\n{ "id" :"/a"\t,\r\n"networks":[ {"name"  :  "d\\u0063os"}],"x":1.0e+2 , "y":"\\/" }\r\n\r\n',
        (('"d\\u0063os"', '"calico"'),),
    ),
)
