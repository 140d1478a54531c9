"""Why a trade is there, or missing: from the coverage, the rows and the rules that decided."""

from brokersync.explaining.explainer import Explainer
from brokersync.explaining.explanation import ExplainedBooking, Explanation, SourceAnswer, SourceState
from brokersync.explaining.failing import failed_parts
from brokersync.explaining.outlook import Outlook, SourceOutlook, outlook
from brokersync.explaining.question import Question
from brokersync.explaining.readings import file_log
from brokersync.explaining.verdict import trade_text

__all__ = [
    "ExplainedBooking",
    "Explainer",
    "Explanation",
    "Outlook",
    "Question",
    "SourceAnswer",
    "SourceOutlook",
    "SourceState",
    "failed_parts",
    "file_log",
    "outlook",
    "trade_text",
]
