"""Google's words for why it refuses, by what they are about.

Three lists of Google's:

- the front end of Google's APIs (who are you, which project, is it paid for) gives its reason in an `ErrorInfo`, in
  capitals: https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto;
- older words of the same, which all APIs share: https://developers.google.com/youtube/v3/docs/core_errors;
- Calendar's own: https://developers.google.com/workspace/calendar/api/guides/errors, and what public bug reports quote.

Each word is in one set. *Whose fault* it is follows from what it is about. The project, its key and how we call Google
are the same for every workspace. An account, and what its administrator allows it, is one workspace's. What is about a
resource, or is not known, may be either.
"""

from typing import Final

RATES: Final = frozenset(
    {
        "RATE_LIMIT_EXCEEDED",
        "concurrentLimitExceeded",
        "limitExceeded",
        "rateLimitExceeded",
        "servingLimitExceeded",
        "userRateLimitExceeded",
        "variableTermLimitExceeded",
    }
)
"""Too much at once: over in seconds."""

QUOTAS: Final = frozenset(
    {
        "EMULATOR_QUOTA_EXCEEDED",
        "RESOURCE_QUOTA_EXCEEDED",
        "dailyLimitExceeded",
        "dailyLimitExceeded402",
        "quotaExceeded",
        "quotaExceeded402",
        "variableTermExpiredDailyExceeded",
    }
)
"""Used up: over in hours, or never."""

DISABLED: Final = frozenset({"BILLING_DISABLED", "SERVICE_DISABLED", "accessNotConfigured"})
"""The project is not set up for the API, or not paid for."""

DEPLOYMENT: Final = frozenset(
    {
        "API_KEY_ANDROID_APP_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_INVALID",
        "API_KEY_IOS_APP_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "API_KEY_SERVICE_BLOCKED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "CREDENTIALS_MISSING",  # our header did not arrive
        "CREDENTIAL_ANDROID_APP_INVALID",
        "ENDPOINT_USAGE_RESTRICTION_VIOLATED",
        "GCP_SUSPENDED",
        "MCP_SERVER_DISABLED",
        "MISSING_ORIGIN",
        "ORG_RESTRICTION_HEADER_INVALID",
        "OVERLOADED_CREDENTIALS",
        "SECURITY_POLICY_VIOLATED",
        "SERVICE_NOT_VISIBLE",
        "SESSION_COOKIE_INVALID",
        "SYSTEM_PARAMETER_UNSUPPORTED",
        "TLS_CIPHER_RESTRICTION_VIOLATED",
        "TLS_ORG_POLICY_VIOLATED",
        "USER_PROJECT_DENIED",
        "dailyLimitExceededUnreg",  # Google sees no project in the request
        "insufficientAudience",
        "insufficientAuthorizedParty",
        "ipRefererBlocked",
        "keyExpired",
        "keyInvalid",
        "rateLimitExceededUnreg",
        "sslRequired",
        "unknownAuth",
        "userRateLimitExceededUnreg",
    }
)
"""The project, its key, or how and from where we call Google."""

ACCOUNT: Final = frozenset(
    {
        "ACCOUNT_STATE_INVALID",
        "ACCOUNT_TYPE_UNSUPPORTED",
        "USER_BLOCKED_BY_ADMIN",
        "accountDeleted",
        "accountDisabled",
        "accountUnverified",
        "domainPolicy",
        "notACalendarUser",
    }
)
"""The account: whatever it asks for, it is refused."""

SCOPES: Final = frozenset({"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"})
"""What the account consented to is for something else."""

TOKENS: Final = frozenset(
    {"ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "CREDENTIAL_TYPE_UNSUPPORTED", "JWT_TOKEN_INVALID"}
)
"""This access token: another one may do."""

POLICIES: Final = frozenset(
    {
        "IAM_PERMISSION_DENIED",
        "LOCATION_ORG_POLICY_VIOLATED",
        "LOCATION_POLICY_VIOLATED",
        "LOCATION_TAX_POLICY_VIOLATED",
        "ORG_RESTRICTION_VIOLATION",
        "RESOURCE_PROJECT_INVALID",
        "RESOURCE_USAGE_RESTRICTION_VIOLATED",
    }
)
"""A resource, and where it may be: it may concern one workspace, or all."""

EVENT: Final = frozenset(
    {
        "cannotChangeOrganizer",
        "cannotChangeOrganizerOfInstance",
        "eventTypeRestriction",
        "forbidden",
        "forbiddenForNonOrganizer",
        "forbiddenForServiceAccounts",
        "participantIsNeitherOrganizerNorAttendee",
    }
)
"""This event, which the account may not change, or not so."""

IN_FRONT: Final = RATES | QUOTAS | DISABLED | DEPLOYMENT | ACCOUNT | SCOPES | TOKENS | POLICIES
"""All reasons of the front end, which refuses before the API looks at calendar or event."""
