"""What the files that operators deploy are held against: versions of Kubernetes, and a schema of Compose files."""

KUBERNETES = ("1.30", "1.37")  # the oldest version that we mean to run on, and the newest that there are schemas for

# The part of the Compose Specification (compose-spec/compose-spec, schema/compose-spec.json) that our files use; what is
# not listed is refused.
TEXTS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
PORT = r"^(\S+:)?\d+:\d+$"
VOLUME = r"^(\.\S*|\$\{\S+\}|[a-z]+):/\S+?(:ro)?$"
COMPOSE = {
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "volumes": {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}},
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["image", "restart", "cap_drop", "security_opt"],
                "additionalProperties": False,
                "properties": {
                    "image": {"type": "string", "pattern": r":v?\d+\.\d+\.\d+\}?$"},  # pinned
                    "entrypoint": TEXTS,
                    "command": TEXTS,
                    "ports": {**TEXTS, "items": {"type": "string", "pattern": PORT}},
                    "expose": TEXTS,
                    "volumes": {**TEXTS, "items": {"type": "string", "pattern": VOLUME}},
                    "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                    "user": {"type": "string", "pattern": r"^\d+:\d+$"},
                    "read_only": {"type": "boolean"},
                    "tmpfs": TEXTS,
                    "cap_drop": {"const": ["ALL"]},
                    "security_opt": {"const": ["no-new-privileges:true"]},
                    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                    "depends_on": {
                        "oneOf": [
                            TEXTS,
                            {
                                "type": "object",
                                "additionalProperties": {
                                    "type": "object",
                                    "properties": {"condition": {"enum": ["service_started", "service_healthy"]}},
                                    "required": ["condition"],
                                    "additionalProperties": False,
                                },
                            },
                        ]
                    },
                    "healthcheck": {
                        "type": "object",
                        "required": ["test"],
                        "additionalProperties": False,
                        "properties": {
                            "test": {"type": "array", "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}]},
                            **{
                                key: {"type": "string", "pattern": r"^\d+(ms|s|m)$"}
                                for key in ("interval", "timeout", "start_period")
                            },
                        },
                    },
                    "deploy": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "resources": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "limits": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "cpus": {"type": "string", "pattern": r"^[\d.]+$"},
                                            "memory": {"type": "string", "pattern": r"^\d+[MG]$"},
                                        },
                                    }
                                },
                            }
                        },
                    },
                },
            },
        },
    },
}
