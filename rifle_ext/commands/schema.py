"""The JSON schema of the `rifle:` block, for editors.

It describes a whole config file, of which it knows nothing but the block. Draft 7, which the YAML
language servers of editors read best. What a schema cannot say is left to `parse_block`: that a
`Uniform` goes from low to high, that 2.0 is not a whole number, how large a number in quotes is.

``python -m rifle_ext.commands.schema`` rewrites the file; it is due when the keys change.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict

from pydantic.json_schema import GenerateJsonSchema

from rifle_ext.methods.rifle.block import BLOCK_KEY, RifleConfig

PATH = Path(__file__).with_name("rifle.schema.json")
"""The schema as a file of the package."""


class _ForEditors(GenerateJsonSchema):
    """What the models accept, in words that do not depend on the version of pydantic."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def literal_schema(self, schema: Any) -> Dict[str, Any]:
        return {"enum": list(schema["expected"])}

    def float_schema(self, schema: Any) -> Dict[str, Any]:
        """Strings and booleans that make a number, too: to YAML 1.1, 1e-3 is a string."""
        number = r"^\s*[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?\s*$"
        types = ["number", "string", "boolean"]
        return {**super().float_schema(schema), "type": types, "pattern": number}

    def tagged_union_schema(self, schema: Any) -> Dict[str, Any]:
        """Initializers: a name alone, or a mapping with that name as its type."""
        mappings = [self.generate_inner(choice) for choice in schema["choices"].values()]
        return {"anyOf": [{"enum": list(schema["choices"])}, *mappings]}


def schema() -> Dict[str, Any]:
    """The JSON schema of a config with a block."""
    block = RifleConfig.model_json_schema(
        ref_template="#/definitions/{model}", schema_generator=_ForEditors
    )
    definitions = block.pop("$defs")
    block["properties"]["head_lr"]["enum"].append(None)
    block.update(
        {
            # Beside the block's keys, not in an anyOf: an editor names a wrong key only so.
            "type": ["object", "null", "boolean"],
            "title": "RIFLE",
            "description": "Re-initialize the output layers several times during fine-tuning. "
            "Nothing or true: all defaults; false: no RIFLE.",
            # One interval. As a condition, so that the second is marked and not the whole block.
            "if": {
                "properties": {"re_init_epoch": {"type": "integer"}},
                "required": ["re_init_epoch"],
            },
            "then": {"properties": {"re_init_iter": {"type": "null"}}},
        }
    )
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {BLOCK_KEY: block},
        "definitions": definitions,
    }


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "schema",
        help="the JSON schema of the block, for editors",
        description="Print the JSON schema of a config with a `rifle:` block. An editor with the "
        "YAML language server checks and completes the block in a config whose first line is "
        "`# yaml-language-server: $schema=PATH`, PATH being what --path prints.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("--path", action="store_true", help="print where the schema is installed")


def run(chosen: argparse.Namespace) -> int:
    """Print the schema, or its path; returns the exit code."""
    print(PATH if chosen.path else PATH.read_text(encoding="utf-8").rstrip())
    return 0


if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
