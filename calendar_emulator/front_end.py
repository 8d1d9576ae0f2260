"""What the layer in front of every API of Google refuses with, before a calendar is looked at.

Source of the names and their domains: https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto.
It does not say which status comes with which; those here are quoted in public bug reports, or follow from the meaning.
"""

from typing import Final

IN_FRONT: Final = {
    "ACCESS_TOKEN_EXPIRED": 401,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": 403,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": 401,
    "ACCOUNT_STATE_INVALID": 401,
    "ACCOUNT_TYPE_UNSUPPORTED": 403,
    "API_KEY_ANDROID_APP_BLOCKED": 403,
    "API_KEY_HTTP_REFERRER_BLOCKED": 403,
    "API_KEY_INVALID": 400,
    "API_KEY_IOS_APP_BLOCKED": 403,
    "API_KEY_IP_ADDRESS_BLOCKED": 403,
    "API_KEY_SERVICE_BLOCKED": 403,
    "BILLING_DISABLED": 403,
    "CONSUMER_INVALID": 403,
    "CONSUMER_SUSPENDED": 403,
    "CREDENTIALS_MISSING": 401,
    "CREDENTIAL_ANDROID_APP_INVALID": 403,
    "CREDENTIAL_TYPE_UNSUPPORTED": 401,
    "EMULATOR_QUOTA_EXCEEDED": 429,
    "ENDPOINT_USAGE_RESTRICTION_VIOLATED": 403,
    "GCP_SUSPENDED": 403,
    "IAM_PERMISSION_DENIED": 403,
    "JWT_TOKEN_INVALID": 401,
    "LOCATION_ORG_POLICY_VIOLATED": 400,
    "LOCATION_POLICY_VIOLATED": 400,
    "LOCATION_TAX_POLICY_VIOLATED": 400,
    "MCP_SERVER_DISABLED": 403,
    "MISSING_ORIGIN": 403,
    "ORG_RESTRICTION_HEADER_INVALID": 400,
    "ORG_RESTRICTION_VIOLATION": 403,
    "OVERLOADED_CREDENTIALS": 400,
    "RATE_LIMIT_EXCEEDED": 429,
    "RESOURCE_PROJECT_INVALID": 400,
    "RESOURCE_QUOTA_EXCEEDED": 429,
    "RESOURCE_USAGE_RESTRICTION_VIOLATED": 403,
    "SECURITY_POLICY_VIOLATED": 403,
    "SERVICE_DISABLED": 403,
    "SERVICE_NOT_VISIBLE": 403,
    "SESSION_COOKIE_INVALID": 401,
    "SYSTEM_PARAMETER_UNSUPPORTED": 400,
    "TLS_CIPHER_RESTRICTION_VIOLATED": 403,
    "TLS_ORG_POLICY_VIOLATED": 403,
    "USER_BLOCKED_BY_ADMIN": 403,
    "USER_PROJECT_DENIED": 403,
}
"""Statuses by reason."""

_POLICIES: Final = {
    "ENDPOINT_USAGE_RESTRICTION_VIOLATED": "endpointUsageRestriction",
    "TLS_CIPHER_RESTRICTION_VIOLATED": "tlsCipherRestriction",
}


def domain_of(reason: str) -> str:
    """The domain that the `ErrorInfo` of a reason has."""
    policy = _POLICIES.get(reason)
    return f"googleapis.com/policies/{policy}" if policy else "googleapis.com"
