from annotator.models.comparisons import Comparison, Features, FeatureSet, Prompt, Response
from annotator.models.exports import Export
from annotator.models.jobs import Job, JobCancelled
from annotator.models.judgments import Assignment, Flag, Judgment, Outcome
from annotator.models.labelers import Labeler, LabelerCall, LabelerVersion, Rater
from annotator.models.labels import Label, Recipe
from annotator.models.ledger import Account, LedgerEntry, Reservation
from annotator.models.people import User
from annotator.models.projects import Membership, Project, Protocol, Role
from annotator.models.routes import PerformanceModel, Plan, Route

__all__ = [
    "Account",
    "Assignment",
    "Comparison",
    "Export",
    "FeatureSet",
    "Features",
    "Flag",
    "Job",
    "JobCancelled",
    "Judgment",
    "Label",
    "Labeler",
    "LabelerCall",
    "LabelerVersion",
    "LedgerEntry",
    "Membership",
    "Outcome",
    "PerformanceModel",
    "Plan",
    "Project",
    "Prompt",
    "Protocol",
    "Rater",
    "Recipe",
    "Reservation",
    "Response",
    "Role",
    "Route",
    "User",
]
