#!/usr/bin/env python3
"""A trainer in plain Python: logistic regression on two rings of points, by gradient descent.

    python examples/python_trainer.py                       # keeps the run in ./.mlops
    MLFLOW_TRACKING_URI=http://host:5000 python examples/python_trainer.py  # and delivers it

`import mlflow` instead of `import mlops as mlflow` runs the same lines with MLflow's own client.
"""

import math
import random

import mlops as mlflow


def points(count, seed):
    dice = random.Random(seed)
    for _ in range(count):
        label = dice.randrange(2)
        radius, angle = 1 + label + dice.gauss(0, 0.35), dice.uniform(0, 2 * math.pi)
        yield (radius * math.cos(angle)) ** 2, (radius * math.sin(angle)) ** 2, label


def step(weights, data, rate):
    """One pass of gradient descent; the mean loss and the share of right answers before it."""
    loss, right, slope = 0.0, 0, [0.0, 0.0, 0.0]
    for x, y, label in data:
        guess = 1 / (1 + math.exp(-(weights[0] * x + weights[1] * y + weights[2])))
        loss -= math.log(max(1e-12, guess if label else 1 - guess))
        right += (guess > 0.5) == label
        for i, part in enumerate((x, y, 1.0)):
            slope[i] += (guess - label) * part
    for i in range(3):
        weights[i] -= rate * slope[i] / len(data)
    return loss / len(data), right / len(data)


def main():
    mlflow.set_experiment("rings")
    data = list(points(400, seed=7))
    for rate in (0.03, 0.3):
        with mlflow.start_run(run_name=f"rate {rate}") as run:
            mlflow.log_params({"rate": rate, "points": len(data), "steps": 200})
            weights = [0.0, 0.0, 0.0]
            for i in range(200):
                loss, right = step(weights, data, rate)
                mlflow.log_metrics({"loss": loss, "accuracy": right}, step=i)
        print(f"{run.info.run_name}: loss {loss:.3f}, accuracy {right:.3f}")
    best = mlflow.search_runs(order_by=["metrics.loss ASC"], output_format="list")[0]
    print("best:", best.info.run_name, best.data.params)


if __name__ == "__main__":
    main()
