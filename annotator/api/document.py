"""The OpenAPI document, completed by what the types do not say: scopes, refusals, keys."""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from annotator.api import once, problems
from annotator.api.auth import Scoped

SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token made on the page Tokens: sw_…"},
}
KEY = {
    "in": "header",
    "name": once.HEADER,
    "required": False,
    "description": "The same key with the same request is done once and answered the same.",
    "schema": {"type": "string", "maxLength": once.LONGEST_KEY, "pattern": "^[!-~]+$"},
}
REFUSALS = {
    "401": "The token is missing, unknown, revoked or over.",
    "403": "The token's scope or the person's role does not suffice.",
    "404": "There is no such thing, or it is not yours.",
    "422": "Something in the request is wrong; `errors` says where.",
    "503": "It took too long; nothing was changed.",
}
REFUSALS_OF_WORK = {
    "400": "The body cannot be read.",
    "409": "The project is not ready for it, or the key belongs to another request.",
    "413": "The body is too large.",
    "507": "The disk of the site is nearly full.",
}


class Document(NinjaAPI):
    """Operations are called by their function's name, and read as the document of OpenAPI 3.1 says."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **given: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**given)
        schema["components"]["securitySchemes"] = SECURITY
        schema["components"]["schemas"]["Problem"] = _problem()
        schema["components"]["schemas"]["Fault"] = problems.Fault.model_json_schema()
        scopes = self.scopes()
        for methods in schema["paths"].values():
            for method, operation in methods.items():
                _complete(operation, method, scopes[operation["operationId"]])
        return schema

    def scopes(self) -> dict[str, tuple[str, ...]]:
        """{operation: scopes, any of which suffices}."""
        return {
            self.get_openapi_operation_id(operation): callback.scopes
            for bound in self._get_bound_routers()
            for view in bound.path_operations.values()
            for operation in view.operations
            for callback in operation.auth_callbacks
            if isinstance(callback, Scoped)
        }


def _problem() -> dict[str, Any]:
    schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def _complete(operation: dict[str, Any], method: str, scopes: tuple[str, ...]) -> None:
    operation["security"] = [{"token": [scope]} for scope in scopes]
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refusals = REFUSALS
    if method == "patch":
        refusals = REFUSALS | {"400": REFUSALS_OF_WORK["400"]}
    if method == "post":
        refusals = REFUSALS | REFUSALS_OF_WORK
        operation["parameters"] = [*operation["parameters"], KEY]
    for status, words in refusals.items():
        operation["responses"][status] = {"description": words, "content": content}
