"""All the conformance cases, in order."""

import celery_cases_calls  # noqa: F401
import celery_cases_canvas  # noqa: F401
import celery_cases_time  # noqa: F401
import celery_cases_remote  # noqa: F401
import celery_cases_malformed  # noqa: F401
from celery_talk import CASES, Conversation  # noqa: F401
