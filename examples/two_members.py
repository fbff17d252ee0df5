"""Train two networks fold by fold on drawn garments, and stack what they say of photos that they did not see."""

import sys
from pathlib import Path

import labelstack as ls
from base_models import DataConfig, FoldConfig, MemberConfig, TrainingConfig, TrainingRun, run_training
from experiments.fashionblocks import synthesize

out = Path(sys.argv[1] if len(sys.argv) > 1 else "two-members")
n_photos, epochs = (int(text) for text in (sys.argv[2:4] or ("1500", "4")))

photos = synthesize(out / "data", n_train=n_photos, n_validation=0, n_test=n_photos // 3, size=48)
data = DataConfig("imaterialist-json", "photos", "train.json", test_annotations="test.json", labels="labels.csv")
training = TrainingConfig(epochs=epochs, batch_size=16, learning_rate=4e-3, augmentation="mirror")
members = (
    MemberConfig("resnet", "resnet10t", size=48, training=training),
    MemberConfig("small", "scratch-cnn", size=48, training=training),
)
recipe = TrainingRun("two", data, members, folds=FoldConfig(n_folds=2))
run = run_training(recipe, out / "run", recipe_folder=photos)
for member, folds in run.histories.items():
    print(member, [round(epoch["loss"], 3) for epoch in folds[0]])

ensemble = ls.fit(run.oof, "mean")
print(ls.evaluate(ensemble, run.test))
# Next: a recipe trains more members, and resumes after a kill: docs/photos.md.
