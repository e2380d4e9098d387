from annotator.models.backtests import Backtest, BacktestSeed
from annotator.models.comparisons import Candidate, Comparison, Features, FeatureSet, Harm, Prompt, Response
from annotator.models.credentials import Credential, Disclosure
from annotator.models.exports import Dataset, Export, ExportLink, Push
from annotator.models.guidelines import Guidelines
from annotator.models.imports import Import
from annotator.models.jobs import Job, JobCancelled, JobPaused
from annotator.models.judgments import Assignment, Flag, Judgment, Outcome, Purpose
from annotator.models.labelers import BatchFile, Labeler, LabelerCall, LabelerReport, LabelerVersion, Rater
from annotator.models.labels import Label, Recipe
from annotator.models.ledger import Account, LedgerEntry, Reservation
from annotator.models.loop import Loop, PromptTags, Realised
from annotator.models.mixtures import Mixture, MixtureScore, MixtureSet
from annotator.models.people import User
from annotator.models.profiles import Profile
from annotator.models.programs import Delivery, KeptAnswer, Token, Webhook
from annotator.models.projects import Membership, Project, Protocol, Role
from annotator.models.reviews import Comment, Contest, Return, Review
from annotator.models.routes import PerformanceModel, Plan, Route
from annotator.models.scores import CachedScore, HeatMap
from annotator.models.standards import Attempt, Concern, Gold, Standards, Standing

__all__ = [
    "Account",
    "Assignment",
    "Attempt",
    "Backtest",
    "BacktestSeed",
    "BatchFile",
    "CachedScore",
    "Candidate",
    "Comment",
    "Comparison",
    "Concern",
    "Contest",
    "Credential",
    "Dataset",
    "Delivery",
    "Disclosure",
    "Export",
    "ExportLink",
    "FeatureSet",
    "Features",
    "Flag",
    "Gold",
    "Guidelines",
    "Harm",
    "HeatMap",
    "Import",
    "Job",
    "JobCancelled",
    "JobPaused",
    "Judgment",
    "KeptAnswer",
    "Label",
    "Labeler",
    "LabelerCall",
    "LabelerReport",
    "LabelerVersion",
    "LedgerEntry",
    "Loop",
    "Membership",
    "Mixture",
    "MixtureScore",
    "MixtureSet",
    "Outcome",
    "PerformanceModel",
    "Plan",
    "Profile",
    "Project",
    "Prompt",
    "PromptTags",
    "Protocol",
    "Purpose",
    "Push",
    "Rater",
    "Realised",
    "Recipe",
    "Reservation",
    "Response",
    "Return",
    "Review",
    "Role",
    "Route",
    "Standards",
    "Standing",
    "Token",
    "User",
    "Webhook",
]
