"""An experiment as a file: datasets, exports, trainings, answers, a judge, one table; nothing is run twice."""
