"""What is served: an ensemble, the networks of its run if photos are asked about, and what it says of itself."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.serving.limits import RefusedError, ServingLimits
from experiments.serving.sent_photos import PHOTOS, name_sent_photos
from experiments.serving.sent_scores import BUNDLE, JSON, read_bundle_scores, read_json_scores
from optimizers.registry import did_you_mean
from stacking.ensemble.card import describe_ensemble
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import PredictionSet

if TYPE_CHECKING:
    from base_models.runs.prediction import PhotoScorer


class Served:
    """Answer one request after the other; what it answers is what `predict` of the ensemble gives.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.
    limits : ServingLimits
        What a request may hold.
    scorer : PhotoScorer, optional
        The networks of the members that have a say.
    """

    def __init__(self, ensemble: StackingEnsemble, limits: ServingLimits, scorer: PhotoScorer | None = None) -> None:
        self.ensemble, self.limits, self.scorer = ensemble, limits, scorer
        self.card = describe_ensemble(ensemble)

    @property
    def takes(self) -> list[str]:
        """Name the types of body that it reads."""
        return [JSON, BUNDLE, *([PHOTOS] if self.scorer is not None else [])]

    def answer_scores(
        self, body: bytes, kind: str, *, without: Collection[str] = (), with_scores: bool = False
    ) -> tuple[bytes, int]:
        """Label the samples whose scores were sent.

        Parameters
        ----------
        body : bytes
            As sent.
        kind : str
            Its type: JSON or a bundle.
        without : collection of str, default=()
            Members to do without.
        with_scores : bool, default=False
            Also answer the probabilities.

        Returns
        -------
        tuple of bytes and int
            JSON, and how many samples it is about.

        Raises
        ------
        RefusedError
            If the body is not what it must be.
        ValueError
            If the ensemble refuses the scores.
        """
        self._check_without(without)
        read = read_json_scores if kind == JSON else read_bundle_scores
        return self._answer(read(body, self.ensemble, self.limits, without), without, with_scores)

    def answer_photos(self, files: Sequence[tuple[str, bytes]], *, with_scores: bool = False) -> tuple[bytes, int]:
        """Label photos, by the members that have a say, as ``labelstack predict --run`` does.

        Parameters
        ----------
        files : sequence of (str, bytes)
            File name and content of each photo.
        with_scores : bool, default=False
            Also answer the probabilities.

        Returns
        -------
        tuple of bytes and int
            JSON, and how many photos it is about.

        Raises
        ------
        RefusedError
            If there are too many, a name is not plain, or one cannot be read.
        """
        from base_models.photos.decoding import UnreadablePhotoError, decode_photo

        if self.scorer is None:
            raise RefusedError(415, "no photos can be labeled here: the server was started without --run.")
        if not 0 < len(files) <= self.limits.photos:
            what = f"a request may hold 1 to {self.limits.photos} photos, each a file of the form"
            raise RefusedError(413 if files else 400, f"{what}: got {len(files)}.")
        photos = name_sent_photos(files)
        for name, content in files:
            try:
                decode_photo(content, name=repr(name), at_least=1)
            except UnreadablePhotoError as error:
                raise RefusedError(400, f"photos must be readable: {error}.") from error
        scored = self.scorer.score(photos)
        if scored.n_samples < len(files):
            raise RefusedError(400, "photos must be readable: one was cut off while it was decoded.")
        asked = self.ensemble.members_needed()
        return self._answer(scored, [name for name in self.ensemble.models_ if name not in asked], with_scores)

    def _check_without(self, without: Collection[str]) -> None:
        """Refuse to do without a member that there is not."""
        for name in without:
            if name not in self.ensemble.models_:
                close = did_you_mean(name[:80], self.ensemble.models_)
                raise RefusedError(400, f"without must name members of the ensemble: got {name[:80]!r}.{close}")

    def _answer(self, sent: PredictionSet, without: Collection[str], with_scores: bool) -> tuple[bytes, int]:
        """Predict, and write the answer."""
        labels = self.ensemble.labels_
        y_score = self.ensemble.predict_proba(sent, without=without, as_frame=False)
        y_pred = self.ensemble.decide(y_score)
        answers: list[dict[str, Any]] = []
        for row, name in enumerate(sent.ids.tolist()):
            answer = {"id": name, "labels": [labels[place] for place in y_pred[row].nonzero()[0]]}
            if with_scores:
                answer["scores"] = dict(zip(labels, y_score[row].tolist(), strict=True))
            answers.append(answer)
        return json.dumps({"predictions": answers}).encode(), sent.n_samples

    def describe(self) -> dict[str, Any]:
        """Say what is served and how it is asked.

        Returns
        -------
        dict
            JSON-able.
        """
        ensemble, chosen = self.ensemble, self.ensemble.report_
        needed = ensemble.members_needed()
        return {
            "served_by": f"labelstack {version('labelstack')}",
            "card": "/card",
            "ask": {
                "POST /predict": {
                    "content types": self.takes,
                    "?scores=true": "also the probability of each label",
                    "?without=MEMBER": "do without a member whose scores are missing; may be repeated",
                }
            },
            "members": list(ensemble.models_),
            "members_without_weight": [name for name in ensemble.models_ if name not in needed],
            "labels": list(ensemble.labels_),
            "label_ids": None if ensemble.label_ids_ is None else list(ensemble.label_ids_),
            "thresholds": [limit if math.isfinite(limit) else None for limit in ensemble.thresholds_.tolist()],
            "metric": chosen.metric_title,
            "estimate": chosen.estimate,
            "fingerprint": ensemble.fingerprint,
            "limits": asdict(self.limits),
        }


def open_served(
    folder: Path,
    limits: ServingLimits,
    *,
    run: Path | None = None,
    device: str = "auto",
    thresholds: Path | None = None,
) -> Served:
    """Open an ensemble, and the networks of its run, to serve them.

    Parameters
    ----------
    folder : Path
        An ensemble folder.
    limits : ServingLimits
        What a request may hold.
    run : Path, optional
        The run whose networks score photos.
    device : str, default="auto"
        Where they compute.
    thresholds : Path, optional
        A thresholds file to decide by.

    Returns
    -------
    Served
        Ready to answer.

    Raises
    ------
    ValueError
        If a folder is damaged, or the run lacks members or labels of the ensemble.
    """
    ensemble = StackingEnsemble.load(folder)
    if thresholds is not None:
        from stacking.decision_rules.threshold_file import read_thresholds

        ensemble.thresholds_ = read_thresholds(thresholds, ensemble.labels_)
    scorer = None
    if run is not None:
        from base_models.runs.prediction import PhotoScorer
        from experiments.labeling.label_table import check_run

        check_run(ensemble, run)
        scorer = PhotoScorer(run, models=ensemble.members_needed(), device=device)
    return Served(ensemble, limits, scorer)
