"""Trains a model of scikit-learn's: kserve_model.py FILE.joblib ROWS.csv LABEL COLUMN...

A column is of numbers, or NAME=CATEGORY,CATEGORY,... of texts, each of which the model knows by its place, others as -1.
"""

import sys

import joblib
import pandas
from sklearn.ensemble import HistGradientBoostingClassifier

path, rows, label, *columns = sys.argv[1:]
rows = pandas.read_csv(rows)
features = []
for column in columns:
    name, _, categories = column.partition("=")
    codes = {category: place for place, category in enumerate(categories.split(","))}
    features.append(rows[name].map(lambda text: codes.get(text, -1)) if categories else rows[name])
# It takes a value that is missing, as most of scikit-learn's do not.
model = HistGradientBoostingClassifier(random_state=0, max_iter=20)
joblib.dump(model.fit(pandas.concat(features, axis=1).to_numpy(), rows[label]), path)
