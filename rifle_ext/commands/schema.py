"""The JSON schema of the methods' blocks, for editors.

It describes a whole config file, of which it knows nothing but the blocks. Draft 7, which the YAML
language servers of editors read best. What a schema cannot say is left to the trainings: that a
`Uniform` goes from low to high, that 2.0 is not a whole number, how large a number in quotes is.

``python -m rifle_ext.commands.schema`` rewrites the file; it is due when the keys change.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict

from pydantic.json_schema import GenerateJsonSchema

from rifle_ext.runtime.numbers import QUOTED, ROOM
from rifle_ext.training.block_models import block_models

PATH = Path(__file__).with_name("rifle.schema.json")
"""The schema as a file of the package, which knows the methods of the package."""


class _ForEditors(GenerateJsonSchema):
    """What the models accept, in words that do not depend on the version of pydantic."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def literal_schema(self, schema: Any) -> Dict[str, Any]:
        return {"enum": list(schema["expected"])}

    def float_schema(self, schema: Any) -> Dict[str, Any]:
        """Strings and booleans that make a number, too: to YAML 1.1, 1e-3 is a string."""
        types = ["number", "string", "boolean"]
        return {**super().float_schema(schema), "type": types, "pattern": QUOTED}

    def function_before_schema(self, schema: Any) -> Dict[str, Any]:
        """No booleans where the parser takes none for a number, and none without room."""
        found = super().function_before_schema(schema)
        room = ROOM.get(schema["function"]["function"])
        if room is not None:
            found.pop("exclusiveMinimum", None)  # of 0, where there is less room
            types = [kind for kind in found["type"] if kind != "boolean"]
            found = {**room, **found, "type": types}
        return found

    def tagged_union_schema(self, schema: Any) -> Dict[str, Any]:
        """Initializers: a name alone, or a mapping with that name as its type."""
        mappings = [self.generate_inner(choice) for choice in schema["choices"].values()]
        return {"anyOf": [{"enum": list(schema["choices"])}, *mappings]}


def schema(own: bool = False) -> Dict[str, Any]:
    """The JSON schema of a config with blocks.

    Parameters
    ----------
    own
        Only the blocks of this package's methods, not those that others installed.
    """
    blocks, definitions = {}, {}
    for key, model in block_models(own).items():
        block = model.model_json_schema(
            ref_template=f"#/definitions/{key}/{{model}}", schema_generator=_ForEditors
        )
        definitions[key] = block.pop("$defs", {})
        # Beside the block's keys, not in an anyOf: an editor names a wrong key only so.
        blocks[key] = {**block, "type": ["object", "null", "boolean"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": blocks,
        "definitions": definitions,
    }


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "schema",
        help="the JSON schema of the blocks, for editors",
        description="Print the JSON schema of a config with a `rifle:` block, and with those of "
        "other methods that are installed. An editor with the YAML language server checks and "
        "completes the block in a config whose first line is "
        "`# yaml-language-server: $schema=PATH`, PATH being what --path prints.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("--path", action="store_true", help="print where the schema is installed")


def run(chosen: argparse.Namespace) -> int:
    """Print the schema, or its path; returns the exit code."""
    print(PATH if chosen.path else json.dumps(schema(), indent=2))
    return 0


if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(own=True), indent=2) + "\n", encoding="utf-8")
