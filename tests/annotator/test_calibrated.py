"""What a labeler's stored probabilities mean by its newest report: used where labels and routing use them."""

import numpy as np
import pytest
from django.utils.timezone import now
from scipy.special import expit

from annotator.models import LabelerReport
from annotator.pipeline import evidence
from tests.builders import make_labeler, make_project

pytestmark = pytest.mark.django_db

P_B = np.array([0.02, 0.3, 0.5, 0.9, np.nan])
SURE = {"n": 200, "b_margin": 1.0, "b_length": 0.0, "b_first": 0.0}


@pytest.fixture
def version():
    return make_labeler(make_project(), "judge").labeler_version


def reported(version, *, whole=SURE, cells=(), margin="log_odds", digest="1"):
    learnt = {"margin": margin, "margin_scale": 2.0, "length_scale": 100.0, "pooling": 100, "whole": whole}
    data = {"calibration": {**learnt, "cells": [{**SURE, "pooled": False, **cell} for cell in cells]}}
    return LabelerReport.objects.create(version=version, digest=digest, data=data)


def test_without_a_report_on_enough_comparisons_nothing_changes(version):
    np.testing.assert_array_equal(evidence.calibrated(version.labeler, P_B), P_B)
    reported(version, whole={**SURE, "n": 29})
    np.testing.assert_array_equal(evidence.calibrated(version.labeler, P_B), P_B)


def test_the_newest_report_of_the_version_in_use_decides(version):
    reported(version, whole={**SURE, "b_margin": 2.0})
    np.testing.assert_allclose(evidence.calibrated(version.labeler, P_B[1:]), P_B[1:], err_msg="2 over a scale of 2")
    reported(version, digest="2")
    half = np.log(P_B / (1 - P_B)) / 2
    np.testing.assert_allclose(evidence.calibrated(version.labeler, P_B), expit(half))
    version.labeler.versions.create(digest="candidate", accepted_at=None)
    np.testing.assert_allclose(evidence.calibrated(version.labeler, P_B), expit(half))
    version.labeler.versions.create(digest="new", accepted_at=now())
    np.testing.assert_array_equal(evidence.calibrated(version.labeler, P_B), P_B)


def test_a_domain_has_its_own_where_the_report_has_it(version):
    reported(version, cells=[{"domain": "chat", "language": "en", "b_margin": -1.0}])
    said, domains = [0.9] * 3, ["chat", "chat", "safety"]
    found = evidence.calibrated(version.labeler, np.array(said), domains=domains, languages=["en", "de", "en"])
    np.testing.assert_allclose(found, [0.25, 0.75, 0.75])


def test_exchanging_the_responses_exchanges_the_answer(version):
    reported(version, whole={**SURE, "b_length": 0.7}, cells=[{"domain": "chat", "language": "en", "b_length": -0.4}])
    lengths = np.array([[10.0, 400], [300, 20], [5, 5], [80, 90], [1, 2]])
    where = {"domains": ["chat", "", "chat", "safety", ""], "languages": ["en", "", "fr", "en", ""]}
    straight = evidence.calibrated(version.labeler, P_B, lengths=lengths, **where)
    exchanged = evidence.calibrated(version.labeler, 1 - P_B, lengths=lengths[:, ::-1], **where)
    np.testing.assert_allclose(straight, 1 - exchanged)
    assert np.isnan(straight[4]) and not np.allclose(straight[:4], P_B[:4])
    assert evidence.calibrated(version.labeler, P_B)[2] == 0.5, "without lengths a tie stays one"


def test_what_scores_is_calibrated_by_its_scores(version):
    reported(version, margin="scores")
    scores = np.array([[0.0, 4.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(evidence.calibrated(version.labeler, np.array([1.0, 0.8])), [1.0, 0.8])
    found = evidence.calibrated(version.labeler, np.array([1.0, 0.8]), scores=scores)
    np.testing.assert_allclose(found, [expit(2.0), 0.8])
